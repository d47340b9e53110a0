// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import Health
import ManagerClient
import Pool

struct LocalHealthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "localhealth", abstract: "Run health check on current node only",
        discussion: """
            On a server, where the daemon's data folder is, the checks of a server; elsewhere those of a client. One \
            line a check: how it came out, its type, its name and what was found; below what does not pass, what to do.

            \(HelpSections.healthStatus)

            \(HelpSections.healthFiles)
            """, aliases: ["LH"])

    @OptionGroup var node: NodeOptions
    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try reporting {
            let report = try node.report(serverOptions)
            if json {
                try printJSON(report)
            } else {
                print(HealthText(report, node: "this node").lines.joined(separator: "\n"))
            }
            throw report.status.exitCode
        }
    }
}

/// Which checks this node runs.
struct NodeOptions: ParsableArguments {
    @Flag(help: "This node is a client, even where a server is installed.")
    var client = false

    @Flag(help: "This node is a server.")
    var server = false

    @Option(
        name: .customLong("data-dir"),
        help: ArgumentHelp(
            "The folder of the daemon's files, on a server. /var/lib/bitfusion for root, otherwise "
                + "~/.local/state/bitfusion.", valueName: "folder"))
    var dataFolder: String?

    /// The folder that was named, or where this user's daemon has its own.
    var folder: String {
        if let dataFolder { return dataFolder }
        if geteuid() == 0 { return "/var/lib/bitfusion" }
        let state = ProcessInfo.processInfo.environment["XDG_STATE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        return (state ?? (User.home ?? "") + "/.local/state") + "/bitfusion"
    }

    func validate() throws {
        if client && server { throw ValidationError("--client and --server exclude each other.") }
    }

    /// Runs the checks of this node.
    func report(_ options: ServerOptions) throws -> HealthReport {
        let isServer = server || (!client && access(folder, F_OK) == 0 && (try? InstalledFiles.server()) != nil)
        guard isServer else { return ClientHealth(servers: try options.knownServers()).report() }
        let program = try InstalledFiles.server()
        let (status, output) = try CapturedProcess(program, ["localhealth", "--data-dir", folder]).finish()
        // It has said why.
        guard status == 0 else { throw Reported(status: status) }
        guard let report = try? JSONDecoder().decode(HealthReport.self, from: output) else {
            throw Failure(.configuration, "the server's program is of another version; install Bitfusion again")
        }
        return report
    }
}

extension ServerOptions {
    /// The servers, or why there are none; throws only for those of the command line.
    func knownServers() throws -> Result<ServerDirectory, Failure> {
        do { return .success(try servers()) } catch let failure as Failure {
            guard list == nil && file == nil else { throw failure }
            return .failure(failure)
        }
    }
}

extension HealthStatus {
    var exitCode: ExitCode {
        switch self {
        case .pass, .skipped: ExitCode(0)
        case .marginal: ExitCode(1)
        case .fatal: ExitCode(2)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc

/// The command `bitfusion`.
@main
struct Bitfusion: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bitfusion", abstract: "Run applications on GPUs of the network.",
        subcommands: [
            VersionCommand.self, LocalHealthCommand.self, DeallocCommand.self, CrashReportCommand.self,
            LicenseCommand.self, ListGPUsCommand.self, HelpCommand.self, HoldGPUsCommand.self, GPUTableCommand.self,
        ],
        groupedSubcommands: [
            CommandGroup(
                name: "Client",
                subcommands: [
                    ClientCommand.self, HealthCommand.self, RequestGPUsCommand.self, ReleaseGPUsCommand.self,
                    RunCommand.self, StatsCommand.self, SMICommand.self, LocalCommand.self, NetPerfCommand.self,
                    TraceCommand.self,
                ]),
            CommandGroup(name: "Server", subcommands: [ResourceSchedulerCommand.self, ManagerCommand.self]),
        ])

    static func main() {
        signal(SIGPIPE, SIG_IGN)
        let arguments = CommandArguments(Array(CommandLine.arguments.dropFirst()))
        if arguments.list.isEmpty || [["-h"], ["--help"]].contains(arguments.list) {
            print(HelpText.overview)
            return
        }
        do {
            if let word = arguments.list.first, !word.hasPrefix("-"), !(HelpText.command(word) != nil) {
                throw ValidationError("there is no command '\(word)'")
            }
            var command = try parseAsRoot(arguments.list)
            try command.run()
        } catch let status as ExitCode {
            // The application's, or a failure that has been reported.
            exit(withError: status)
        } catch {
            let status = exitCode(for: error)
            // The argument parser would print a page; a failure is one line, and the page is where it points.
            guard status == .validationFailure else { exit(withError: error) }
            let page = arguments.list.first.map { $0 != "help" && HelpText.command($0) != nil ? " \($0)" : "" } ?? ""
            var message = message(for: error).prefix { !$0.isNewline }
            if message.last == "." { message = message.dropLast() }
            printError("bitfusion: \(message); see 'bitfusion help\(page)'")
            exit(withError: ExitCode(status.rawValue))
        }
    }
}

/// The arguments with the server options behind the command, wherever they were typed.
struct CommandArguments {
    let list: [String]

    init(_ arguments: [String]) {
        var moved: [String] = []
        var rest = arguments[...]
        while let first = rest.first, ["-l", "--server_list", "-s", "--servers"].contains(first), rest.count > 1 {
            moved += rest.prefix(2)
            rest = rest.dropFirst(2)
        }
        guard let command = rest.first else {
            list = arguments
            return
        }
        list = [command] + moved + rest.dropFirst()
    }
}

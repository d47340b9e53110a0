// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import ManagerClient
import Pool

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Request GPUs from a shared pool, run a client command, then release the GPUs",
        usage: "bitfusion run -n <count> [options] -- <application> [<arguments> ...]",
        discussion: """
            The application's CUDA calls run on the GPUs of one server. They are released when it ends, however it ends.
            A single argument with spaces is run by the shell.

            EXIT STATUS
            \(HelpSections.applicationStatus)
            \(HelpSections.requestFailures)
            \(HelpSections.applicationFailures)

            \(HelpSections.serverFiles)

            ENVIRONMENT
            \(HelpSections.libraryFolder)
            \(HelpSections.applicationEnvironment)
            """)

    @OptionGroup var gpus: GPUOptions
    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print nothing but failures.")
    var quiet = false

    @Argument(parsing: .captureForPassthrough, help: "The application and its arguments.", completion: .file())
    var application: [String] = []

    func run() throws {
        try reporting {
            guard let demand = gpus.demand else { return }
            let command = try ApplicationCommand(application)
            let library = try InstalledFiles.clientLibraryFolder()
            if let notice = gpus.notice { printError("bitfusion: \(notice)") }
            let servers = try serverOptions.servers()
            let owner = try GPURequest(
                servers: servers, demand: demand, filters: gpus.filters, waitSeconds: gpus.timeout.seconds,
                isQuiet: quiet
            )
            .perform(for: command.name)
            if !quiet { printBanner(server: owner.server.description, idleMinutes: owner.idleMinutes) }
            // Also when the application cannot be started.
            defer { owner.release() }
            let status = try Launcher(
                command: command, libraryFolder: library, server: owner.dispatcher, ticket: owner.ticket,
                isQuiet: quiet, stopProcess: owner.stopProcess
            ).run()
            throw ExitCode(status)
        }
    }
}

/// What `run` and `request_gpus` say before anything else.
func printBanner(server: String, idleMinutes: Int) {
    printError("Requested resources:\nServer List: \(server)\nClient idle timeout: \(idleMinutes) min")
}

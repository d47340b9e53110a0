// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import ManagerClient
import Pool

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Request GPUs from a shared pool, run a client command, then release the GPUs.",
        usage: "bitfusion run -n <count> [options] -- <application> [<arguments> ...]",
        discussion: """
            The application's CUDA calls run on the GPUs of one server. They are released when it ends, however it ends.
            A single argument with spaces is run by the shell.

            EXIT STATUS
              the application's, or 128 and the signal that ended it
              64 wrong usage, 69 no server reached, 75 no GPUs within the time,
              78 wrong configuration, 126 or 127 the application cannot be run

            FILES
              ~/.bitfusion/servers.conf    the user's servers, one address a line
              /etc/bitfusion/servers.conf  the system's servers, when the user has none

            ENVIRONMENT
              BITFUSION_LIB_DIR   the folder that has client/libcuda.so.1
              BITFUSION_SERVER, BITFUSION_TICKET, LD_LIBRARY_PATH
                                  are set for the application
            """)

    @OptionGroup var gpus: GPUOptions
    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print nothing but failures.")
    var quiet = false

    @Argument(parsing: .captureForPassthrough, help: "The application and its arguments.")
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
            if !quiet { printBanner(owner) }
            // Also when the application cannot be started.
            defer { owner.release() }
            let status = try Launcher(
                command: command, libraryFolder: library, server: owner.dispatcher, ticket: owner.ticket
            ).run()
            throw ExitCode(status)
        }
    }

    private func printBanner(_ owner: GrantedGPUs) {
        printError("Requested resources:\nServer List: \(owner.server)\nClient idle timeout: \(owner.idleMinutes) min")
    }
}

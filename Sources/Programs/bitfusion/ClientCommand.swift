// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import ManagerClient

struct ClientCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "client", abstract: "Run application",
        usage: "bitfusion client [--quiet] [--] <application> [<arguments> ...]",
        discussion: """
            Runs the application on GPUs that 'bitfusion request_gpus' has allocated: those of BITFUSION_ALLOCATION, \
            otherwise the newest. Several may run at once; they share the GPUs' memory. When the allocation ends, the \
            application is ended.

            EXIT STATUS
            \(HelpSections.applicationStatus)
              64  wrong usage
              69  there is no allocation, or it has ended
              78  wrong configuration, or a file that others could have changed
            \(HelpSections.applicationFailures)

            FILES
            \(HelpSections.allocationFiles)

            ENVIRONMENT
            \(HelpSections.allocationEnvironment)
            \(HelpSections.libraryFolder)
            \(HelpSections.applicationEnvironment)
            """, aliases: ["c"])

    @Flag(help: "Print nothing but failures.")
    var quiet = false

    @Argument(parsing: .captureForPassthrough, help: "The application and its arguments.", completion: .file())
    var application: [String] = []

    func run() throws {
        if ApplicationCommand.asksForHelp(application) {
            return print(Bitfusion.helpMessage(for: ClientCommand.self))
        }
        try reporting {
            let command = try ApplicationCommand(application)
            let library = try InstalledFiles.clientLibraryFolder()
            let entry = try AllocationStore.reading { () throws(AllocationStore.Failure) in
                try AllocationStore.users.find(AllocationStore.named)
            }
            let status = try Launcher(
                command: command, libraryFolder: library, server: entry.record.dispatcher, ticket: entry.record.ticket,
                holder: entry.record.holder, isQuiet: quiet
            ).run()
            throw ExitCode(status)
        }
    }
}

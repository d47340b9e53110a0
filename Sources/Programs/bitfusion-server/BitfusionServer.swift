// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// The programs of a GPU server: the daemon, and the processes that it starts.
@main
struct BitfusionServer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bitfusion-server", abstract: "The daemon of a GPU server, and the processes that it starts.",
        subcommands: [
            ManagerCommand.self, ResourceSchedulerCommand.self, WorkerCommand.self, ProbeCommand.self,
            SampleCommand.self, LocalDispatcherCommand.self, LocalHealthCommand.self,
        ])

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let status as ExitCode {
            // The failure has been reported.
            exit(withError: status)
        } catch {
            let status = exitCode(for: error)
            // The argument parser would print a page; a failure is one line.
            guard status == .validationFailure else { exit(withError: error) }
            var message = message(for: error).prefix { !$0.isNewline }
            if message.last == "." { message = message.dropLast() }
            writeError("bitfusion: \(message); see 'bitfusion help manager'\n")
            exit(withError: ExitCode(status.rawValue))
        }
    }
}

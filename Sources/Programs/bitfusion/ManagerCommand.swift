// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc

/// `bitfusion manager`: replaces this process by the server's program.
struct ManagerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manager", abstract: "Run Bitfusion manager server",
        // The server's program describes itself.
        helpNames: [])

    @Argument(parsing: .allUnrecognized, help: .hidden)
    var arguments: [String] = []

    func run() throws { try ManagerCommand.execute(arguments) }

    static func execute(_ arguments: [String]) throws {
        try reporting {
            let program = try InstalledFiles.server()
            let argv = ([program, "manager"] + arguments).map { strdup($0) } + [nil]
            execv(program, argv)
            throw Failure(.notExecutable, "cannot start \(program): \(String(cString: strerror(errno)))")
        }
    }
}

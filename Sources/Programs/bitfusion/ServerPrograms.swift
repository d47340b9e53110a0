// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc

/// A command that replaces this process by the server's program, which describes itself.
protocol ServerProgram: ParsableCommand {
    var arguments: [String] { get }
}

extension ServerProgram {
    func run() throws { try Self.execute(arguments) }

    static func execute(_ arguments: [String]) throws {
        try reporting {
            let program = try InstalledFiles.server()
            let argv = ([program, _commandName] + arguments).map { strdup($0) } + [nil]
            execv(program, argv)
            throw Failure(.notExecutable, "cannot start \(program): \(errnoText())")
        }
    }
}

struct ManagerCommand: ServerProgram {
    static let configuration = CommandConfiguration(
        commandName: "manager", abstract: "Run Bitfusion manager server", helpNames: [])

    @Argument(parsing: .allUnrecognized, help: .hidden)
    var arguments: [String] = []
}

struct ResourceSchedulerCommand: ServerProgram {
    static let configuration = CommandConfiguration(
        commandName: "resource_scheduler", abstract: "Run Bitfusion resource scheduler (SRS) on GPU server",
        helpNames: [], aliases: ["srs"])

    @Argument(parsing: .allUnrecognized, help: .hidden)
    var arguments: [String] = []
}

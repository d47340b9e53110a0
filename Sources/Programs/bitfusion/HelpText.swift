// SPDX-License-Identifier: Apache-2.0
import ArgumentParser

/// The overview that `bitfusion help` prints.
enum HelpText {
    private static let groups: [(title: String, commands: [(name: String, summary: String)])] = [
        (
            "COMMANDS:",
            [
                ("version, v", "Display full Bitfusion version"),
                ("list_gpus", "List the available GPUs in a shared pool"),
                ("help, h", "Shows a list of commands or help for one command"),
            ]
        ),
        (
            "   Client Commands:",
            [
                ("run", "Request GPUs from a shared pool, run a client command, then release the GPUs"),
                ("local", "Run a CUDA application locally"),
            ]
        ),
        ("   Server Commands:", [("manager", "Run Bitfusion manager server")]),
    ]

    /// Whether a word names a command, or is its short form.
    static func isCommand(_ word: String) -> Bool {
        groups.flatMap(\.commands).contains { command in
            command.name.split(separator: ",").contains { $0.drop { $0 == " " } == word }
        }
    }

    static var overview: String {
        let width = groups.flatMap(\.commands).map(\.name.count).max() ?? 0
        let lists = groups.map { group in
            group.title + "\n"
                + group.commands.map { command in
                    "        \(command.name)" + String(repeating: " ", count: width - command.name.count + 2)
                        + command.summary + "\n"
                }.joined()
        }.joined(separator: "\n")
        return """
            NAME:
                bitfusion - Run applications on GPUs of the network

            USAGE:
               bitfusion <command> <options> "application"
               bitfusion <command> <options> -- [application]
               bitfusion help [command]

            \(lists)
            EXAMPLES:
               $ bitfusion manager --data-dir /var/lib/bitfusion
               $ bitfusion list_gpus -l 10.0.0.7
               $ bitfusion run -n 4 -- <application>
               $ bitfusion run -n 1 -m 5461 -- python train.py
               $ bitfusion local --soft-gpu 1x4096 -- <application>
            """
    }
}

struct HelpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "help", abstract: "Shows a list of commands or help for one command.", aliases: ["h"])

    @Argument(help: "The command to describe.")
    var command: String?

    func run() throws {
        guard let command else { return print(HelpText.overview) }
        let known = Bitfusion.configuration.subcommands.first {
            $0.configuration.commandName == command || $0.configuration.aliases.contains(command)
        }
        guard let known else { throw ValidationError("there is no command '\(command)'") }
        if known == ManagerCommand.self { return try ManagerCommand.execute(["--help"]) }
        print(Bitfusion.helpMessage(for: known))
    }
}

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Display full Bitfusion version.", aliases: ["v"])

    func run() { print("Bitfusion version: \(Version.number) release") }
}

/// The version of this build.
enum Version {
    static let number = "0.1.0"
}

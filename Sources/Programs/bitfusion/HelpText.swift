// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import ManagerClient
import Pool

/// The overview that `bitfusion help` prints, from what each command says of itself.
enum HelpText {
    /// The commands that are shown, under their heading.
    private static let groups: [(title: String, commands: [any ParsableCommand.Type])] =
        [("COMMANDS:", Bitfusion.configuration.ungroupedSubcommands)]
        + Bitfusion.configuration.groupedSubcommands.map { ("   \($0.name) Commands:", $0.subcommands) }

    /// The command of a name or a short form; nil when there is none.
    static func command(_ word: String) -> (any ParsableCommand.Type)? {
        groups.flatMap(\.commands).first { $0.names.contains(word) }
    }

    /// The names of the commands, for completions.
    static var names: [String] {
        groups.flatMap(\.commands).filter { $0.configuration.shouldDisplay }.map { $0.names[0] }
    }

    static var overview: String {
        let shown = groups.map { group in
            (title: group.title, commands: group.commands.filter { $0.configuration.shouldDisplay })
        }
        let width = shown.flatMap(\.commands).map { $0.names.joined(separator: ", ").count }.max() ?? 0
        let lists = shown.map { group in
            let lines = group.commands.map { command in
                let names = TextTable.left(command.names.joined(separator: ", "), width)
                return "        \(names)  \(command.configuration.abstract)\n"
            }
            return group.title + "\n" + lines.joined()
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
               $ bitfusion resource_scheduler --srs_port 50001
               $ bitfusion list_gpus -l 10.0.0.7
               $ bitfusion run -n 4 -- <application>
               $ bitfusion run -n 1 -m 5461 -- python train.py
               $ bitfusion local --soft-gpu 1x4096 -- <application>
            """
    }
}

extension ParsableCommand {
    /// Its name, and its short forms.
    fileprivate static var names: [String] { [_commandName] + configuration.aliases }
}

struct HelpCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "help", abstract: "Shows a list of commands or help for one command", aliases: ["h"])

    @Argument(help: "The command to describe.", completion: .list(HelpText.names))
    var command: String?

    func run() throws {
        guard let command else { return print(HelpText.overview) }
        guard let known = HelpText.command(command) else {
            throw ValidationError("there is no command '\(command)'")
        }
        if let program = known as? any ServerProgram.Type { return try program.execute(["--help"]) }
        print(Bitfusion.helpMessage(for: known))
    }
}

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Display full Bitfusion version", aliases: ["v"])

    func run() { print("Bitfusion version: \(ProductVersion.number) release") }
}

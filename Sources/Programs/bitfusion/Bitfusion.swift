// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc

/// The command `bitfusion`.
@main
struct Bitfusion: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bitfusion", abstract: "Run applications on GPUs of the network.",
        subcommands: [
            VersionCommand.self, HelpCommand.self, ListGPUsCommand.self, RunCommand.self, LocalCommand.self,
            ManagerCommand.self,
        ])

    static func main() {
        signal(SIGPIPE, SIG_IGN)
        let arguments = CommandArguments(Array(CommandLine.arguments.dropFirst()))
        if arguments.list.isEmpty || [["-h"], ["--help"]].contains(arguments.list) {
            print(HelpText.overview)
        } else {
            main(arguments.list)
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

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import ManagerClient
import Pool

struct StatsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats", abstract: "Gather stats from all servers.",
        discussion: """
            For every server: its GPUs with their use, the allocations that run, and its network interfaces with the \
            bytes they have carried. What a server cannot tell is '-'.

            \(HelpSections.listingStatus)

            \(HelpSections.serverFiles)
            """)

    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try showStates(of: serverOptions, asJSON: json) { answers in
            let reports = answers.compactMap { answer in
                answer.value.map { ServerReport(address: answer.address.description, status: $0).text }
            }
            print(reports.joined(separator: "\n"), terminator: "")
        }
    }
}

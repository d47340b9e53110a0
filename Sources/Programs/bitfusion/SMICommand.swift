// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import ManagerClient
import Pool

struct SMICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "smi", abstract: "Display smi-like info for all servers.",
        discussion: """
            Asks every server of the list. A server that does not answer is an empty box, and a line on standard error \
            says why. 'Virt Mem' is what the pool has given away of a GPU's memory, 'Phy Mem' what is in use on the \
            device. What a server cannot tell is N/A.

            \(HelpSections.listingStatus)

            \(HelpSections.serverFiles)
            """)

    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try showStates(of: serverOptions, asJSON: json) { answers in
            for answer in answers {
                print(SMIBox(address: answer.address.description, status: answer.value).text, terminator: "")
            }
        }
    }
}

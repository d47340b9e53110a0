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
        try reporting {
            let answers = try ServerAnswers(of: serverOptions.servers()) { client throws(SchedulerClient.Failure) in
                try client.status()
            }
            if json {
                try printJSON(["servers": answers.answers.map(StatedServer.init)])
            } else {
                for answer in answers.answers {
                    print(SMIBox(address: answer.address.description, status: answer.value).text, terminator: "")
                }
            }
            try answers.reportFailures()
        }
    }
}

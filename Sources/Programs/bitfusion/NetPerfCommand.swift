// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import ManagerClient
import Pool

struct NetPerfCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "net_perf", abstract: "Gather network performance data from all SRS servers.",
        discussion: """
            Sends blocks of 1 byte and of 1 MB (10^6 bytes) to every server and takes half of the time until they are \
            back, the median of several rounds. Each network interface of this machine is measured with the network of \
            the server that it reaches: that of the same subnet, otherwise that of the same place in the order.

            \(HelpSections.listingStatus)

            \(HelpSections.serverFiles)
            """)

    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try reporting {
            let answers = try ServerAnswers(of: serverOptions.servers()) { client throws(SchedulerClient.Failure) in
                let networks = try client.status().networks
                // Where the connection goes says which interface leads to the server.
                return client.ends.map { ends in
                    NetworkPairs.Server(
                        address: client.server, ownEnd: ends.own, peerEnd: ends.peer, networks: networks)
                }
            }
            if !json { print("Displayed results are calculated from round-trip measurements") }
            if !json { print("BW(1MB) = 1000/(LAT(1MB) - LAT(1B))") }
            let peers = answers.answers.compactMap { $0.value ?? nil }
            var measured: [NetworkMeasurement] = []
            // One after the other: two at once would measure each other.
            for pair in NetworkPairs.pairs(interfaces: Networks.list(), servers: peers) {
                do throws(SchedulerClient.Failure) {
                    let measurement = try NetworkMeasurement(pair)
                    measured.append(measurement)
                    if !json { print(measurement.line) }
                } catch {
                    printError("bitfusion: \(pair.interface) => \(pair.network): \(error.message)")
                }
            }
            if json { try printJSON(["measurements": measured]) }
            try answers.reportFailures()
        }
    }
}

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

/// Two latencies of one way through the network, and the bandwidth that follows from them.
struct NetworkMeasurement: Encodable {
    static let largeBytes = 1_000_000

    let interface: String
    let server: String
    let network: String
    let transport: String
    let latencyMicroseconds: Int
    let largeLatencyMicroseconds: Int

    init(_ pair: NetworkPairs.Pair) throws(SchedulerClient.Failure) {
        let meter = try EchoMeter(SchedulerClient(pair.target, from: pair.source))
        self.init(
            interface: pair.interface, server: pair.server, network: pair.network,
            latencyMicroseconds: try meter.latency(byteCount: 1).microseconds,
            largeLatencyMicroseconds: try meter.latency(byteCount: NetworkMeasurement.largeBytes).microseconds)
    }

    init(
        interface: String, server: String, network: String, latencyMicroseconds: Int, largeLatencyMicroseconds: Int
    ) {
        self.interface = interface
        self.server = server
        self.network = network
        transport = "tcp"
        self.latencyMicroseconds = latencyMicroseconds
        self.largeLatencyMicroseconds = largeLatencyMicroseconds
    }

    /// GB/s, of 10^9 bytes: 1 MB in so many more microseconds than 1 byte; in at least one.
    var bandwidth: Double { 1000 / Double(max(1, largeLatencyMicroseconds - latencyMicroseconds)) }

    var line: String {
        "[ <client>] \(interface) => [\(server)] \(network) ( \(transport)) Single packet lat = \(latencyMicroseconds) us, "
            + "bw(1MB) = \(fixed(bandwidth, digits: 2)) GB/s"
    }

    private enum CodingKeys: String, CodingKey {
        case interface, server, network, transport
        case latencyMicroseconds = "latency_us"
        case largeLatencyMicroseconds = "latency_1mb_us"
        case bandwidth = "bandwidth_gb_per_s"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(interface, forKey: .interface)
        try container.encode(server, forKey: .server)
        try container.encode(network, forKey: .network)
        try container.encode(transport, forKey: .transport)
        try container.encode(latencyMicroseconds, forKey: .latencyMicroseconds)
        try container.encode(largeLatencyMicroseconds, forKey: .largeLatencyMicroseconds)
        try container.encode(bandwidth, forKey: .bandwidth)
    }
}

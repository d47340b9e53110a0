// SPDX-License-Identifier: Apache-2.0

/// Two latencies of one way through the network, and the bandwidth that follows from them.
package struct NetworkMeasurement: Encodable, Sendable {
    static let largeBytes = 1_000_000

    let interface: String
    let server: String
    let network: String
    let transport: String
    let latencyMicroseconds: Int
    let largeLatencyMicroseconds: Int

    package init(_ pair: NetworkPairs.Pair) throws(SchedulerClient.Failure) {
        let meter = try EchoMeter(SchedulerClient(pair.target, from: pair.source))
        self.init(
            interface: pair.interface, server: pair.server, network: pair.network,
            latencyMicroseconds: try meter.latency(byteCount: 1).microseconds,
            largeLatencyMicroseconds: try meter.latency(byteCount: NetworkMeasurement.largeBytes).microseconds)
    }

    package init(
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
    package var bandwidth: Double { 1000 / Double(max(1, largeLatencyMicroseconds - latencyMicroseconds)) }

    package var line: String {
        "[ <client>] \(interface) => [\(server)] \(network) ( \(transport)) Single packet lat = \(latencyMicroseconds) us, "
            + "bw(1MB) = \(fixed(bandwidth, digits: 2)) GB/s"
    }

    private enum CodingKeys: String, CodingKey {
        case interface, server, network, transport
        case latencyMicroseconds = "latency_us"
        case largeLatencyMicroseconds = "latency_1mb_us"
        case bandwidth = "bandwidth_gb_per_s"
    }

    package func encode(to encoder: any Encoder) throws {
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

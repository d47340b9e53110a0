// SPDX-License-Identifier: Apache-2.0
import ManagerClient
import Pool
import Testing

/// `status` and `echo`, and what `net_perf` makes of them.
@Suite struct NetworkTests {
    // MARK: The server's answers

    @Test func statusTellsWhatTheServerHas() throws {
        let server = try TestServer([4096, 1024])
        let (owner, _) = try server.ask(1, mib: 1000)
        let status = try SchedulerClient(server.address).status()
        #expect(status.gpus.map(\.totalMiB) == [4096, 1024])
        #expect(status.gpus.map(\.allocatedMiB).reduce(0, +) == 1000)
        #expect(status.version == ProductVersion.number && !status.hostname.isEmpty && !status.isDraining)
        #expect(status.networks.map(\.name) == status.networks.indices.map { "net\($0 + 1)" })
        #expect(status.networks.allSatisfy { !$0.address.hasPrefix("127.") && $0.prefixLength > 0 })
        withExtendedLifetime(owner) {}
    }

    /// CLI-52, CLI-81: blocks come back as they were sent, of every size that is measured.
    @Test func measuresWithBlocksThatComeBack() throws {
        let server = try TestServer()
        let meter = try EchoMeter(SchedulerClient(server.address))
        let small = try meter.latency(byteCount: 1).microseconds
        let large = try meter.latency(byteCount: 1_000_000).microseconds
        #expect(small < large)
        #expect(try meter.latency(byteCount: SchedulerRequest.echoBytesMax).microseconds > large)
    }

    @Test func aBlockThatIsTooLongEndsTheConnection() throws {
        let server = try TestServer()
        let connection = try server.raw()
        try connection.send(line: Array("{\"version\":\(SchedulerRequest.version),\"type\":\"echo\"}".utf8))
        #expect(try connection.reply().type == .echoing)
        try connection.send([1, 0, 0, 0, 7], count: 5)
        var answer: [UInt8] = []
        #expect(try connection.receiveBlock(into: &answer, limit: 1) == 5)
        #expect(answer == [1, 0, 0, 0, 7])
        try connection.send([255, 255, 255, 255], count: 4)
        #expect(throws: LineConnection.Failure.closed) { try connection.receiveBlock(into: &answer, limit: 1) }
    }

    /// A block held for each of thousands of connections would fill the server's memory.
    @Test func onlySoManyMeasureAtOnce() throws {
        let server = try TestServer()
        let meters = try (0..<16).map { _ in try EchoMeter(SchedulerClient(server.address)) }
        let failure = #expect(throws: SchedulerClient.Failure.self) { try EchoMeter(SchedulerClient(server.address)) }
        #expect(failure?.message.contains("16 measurements") == true)
        withExtendedLifetime(meters) {}
    }

    // MARK: Lines

    /// CLI-53, CLI-54: the guide's own numbers.
    @Test(arguments: [(51, 636, "51 us, bw(1MB) = 1.71 GB/s"), (48, 965, "48 us, bw(1MB) = 1.09 GB/s")])
    func printsTheGuidesLine(small: Int, large: Int, end: String) {
        let measurement = NetworkMeasurement(
            interface: "ens160", server: "10.202.8.169", network: "net1", latencyMicroseconds: small,
            largeLatencyMicroseconds: large)
        #expect(
            measurement.line == "[ <client>] ens160 => [10.202.8.169] net1 ( tcp) Single packet lat = " + end)
    }

    @Test func aNetworkWithoutDelayIsNotInfinitelyFast() {
        let measurement = NetworkMeasurement(
            interface: "lo", server: "127.0.0.1", network: "net1", latencyMicroseconds: 5, largeLatencyMicroseconds: 5)
        #expect(measurement.bandwidth == 1000)
    }

    // MARK: Pairs

    private static func network(_ number: Int, _ interface: String, _ address: String, _ length: Int = 24) -> Network {
        Network(name: "net\(number)", interface: interface, address: address, prefixLength: length)
    }

    private static let twoNetworks = [network(1, "ens160", "10.0.1.7"), network(2, "ens192", "10.0.2.7")]

    private static func pairs(_ interfaces: [Network], ownEnd: String, peerEnd: String = "10.0.1.7") -> [String] {
        let server = NetworkPairs.Server(
            address: ServerAddress(host: "gpu-1"), ownEnd: ownEnd, peerEnd: peerEnd, networks: twoNetworks)
        return NetworkPairs.pairs(interfaces: interfaces, servers: [server]).map {
            "\($0.interface) \($0.source) => \($0.server) \($0.network) \($0.target)"
        }
    }

    /// CLI-55: every interface of the client with the network of its subnet, whatever the order.
    @Test func interfacesArePairedBySubnet() {
        let interfaces = [NetworkTests.network(1, "b", "10.0.2.9"), NetworkTests.network(2, "a", "10.0.1.9")]
        #expect(
            NetworkTests.pairs(interfaces, ownEnd: "10.0.1.9") == [
                "b 10.0.2.9 => 10.0.1.7 net2 10.0.2.7:56001", "a 10.0.1.9 => 10.0.1.7 net1 10.0.1.7:56001",
            ])
    }

    /// CLI-55: without a common subnet, by their order.
    @Test func interfacesOfOtherSubnetsArePairedByOrder() {
        let interfaces = [
            NetworkTests.network(1, "a", "192.168.1.9"), NetworkTests.network(2, "b", "192.168.2.9"),
            NetworkTests.network(3, "c", "192.168.3.9"),
        ]
        #expect(
            NetworkTests.pairs(interfaces, ownEnd: "192.168.1.9") == [
                "a 192.168.1.9 => 10.0.1.7 net1 10.0.1.7:56001", "b 192.168.2.9 => 10.0.1.7 net2 10.0.2.7:56001",
            ])
    }

    @Test func aNetworkThatIsAnotherInterfacesIsNotTakenByOrder() {
        let interfaces = [
            NetworkTests.network(1, "a", "10.0.1.9"), NetworkTests.network(2, "docker0", "172.17.0.1"),
            NetworkTests.network(3, "c", "10.0.2.9"),
        ]
        #expect(
            NetworkTests.pairs(interfaces, ownEnd: "10.0.1.9") == [
                "a 10.0.1.9 => 10.0.1.7 net1 10.0.1.7:56001", "c 10.0.2.9 => 10.0.1.7 net2 10.0.2.7:56001",
            ])
    }

    /// CLI-54: the way on which the server was reached is measured, also where it has another address there.
    @Test func theWayToTheServerIsAlwaysMeasured() {
        #expect(
            NetworkTests.pairs(
                [NetworkTests.network(1, "eth0", "10.0.1.9")], ownEnd: "127.0.0.1", peerEnd: "127.0.0.1")
                == ["lo 127.0.0.1 => 127.0.0.1 net1 127.0.0.1:56001"])
    }

    @Test(arguments: [
        ("10.0.1.7", 24, "10.0.1.255", true), ("10.0.1.7", 24, "10.0.2.1", false), ("10.0.1.7", 23, "10.0.0.1", true),
        ("10.0.1.7", 32, "10.0.1.7", true), ("10.0.1.7", 25, "10.0.1.200", false), ("10.0.1.7", 0, "10.0.1.7", false),
        ("2001:db8::1", 64, "2001:db8::ffff", true), ("2001:db8::1", 64, "10.0.1.7", false),
        ("10.0.1.7", 24, "x", false),
    ])
    func knowsItsAddresses(address: String, length: Int, other: String, isInside: Bool) {
        #expect(NetworkTests.network(1, "eth0", address, length).contains(other) == isInside)
    }
}

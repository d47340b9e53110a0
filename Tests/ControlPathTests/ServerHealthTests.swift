// SPDX-License-Identifier: Apache-2.0
import Glibc
import Health
import ManagerClient
import Pool
import Testing
import Threads

/// `health` over the protocol, and what a client's own checks ask of a server.
@Suite struct ServerHealthTests {
    private static let report = HealthReport(
        hostname: "gpu7", role: .server, version: "9.9.9",
        checks: [
            HealthOutcome(
                name: "ecc", type: .stability, status: .marginal, value: "0", threshold: "none", detail: "ECC is off",
                remedy: "nvidia-smi -e 1", enabled: true, ts: 5)
        ])

    /// CLI-47: a server tells what its own checks find, and can be asked again.
    @Test func tellsItsHealth() throws {
        let server = try TestServer(health: { ServerHealthTests.report })
        let client = try SchedulerClient(server.address)
        for _ in 0..<2 { #expect(try client.health() == ServerHealthTests.report) }
        withExtendedLifetime(server) {}
    }

    @Test func saysThatItsChecksDoNotEnd() throws {
        let server = try TestServer()
        let failure = #expect(throws: SchedulerClient.Failure.self) { try SchedulerClient(server.address).health() }
        #expect(failure?.message.contains("do not end") == true, "\(failure?.message ?? "none")")
        withExtendedLifetime(server) {}
    }

    /// HC-08, HC-18, HC-27, and the clock: all of it in two short conversations.
    @Test func aProbeLearnsWhatTheChecksNeed() throws {
        let server = try TestServer([4096, 1024], wireVersion: "1.0")
        let answer = try ServerProbe.reading(of: server.address).answer.get()
        #expect(answer.protocolVersion == SchedulerRequest.version && answer.wireVersion == "1.0")
        #expect(answer.release == ProductVersion.number && answer.cudaVersion == 13_050)
        #expect(answer.gpuMiB == [4096, 1024])
        #expect(try #require(answer.clockAheadMilliseconds).magnitude < 1_000)
        let path = try #require(answer.path)
        #expect(path.ownAddress == "127.0.0.1" && path.segmentBytes > 1_000 && path.problem == nil)
        withExtendedLifetime(server) {}
    }

    /// HC-18: a way that could not be tried is no proof of anything.
    @Test func aProbeSaysThatTheWayWasNotTried() throws {
        let server = try TestServer()
        let meters = try (0..<16).map { _ in try EchoMeter(SchedulerClient(server.address)) }
        let answer = try ServerProbe.reading(of: server.address).answer.get()
        #expect(answer.path?.problem == .notTried("the server sends nothing back now"))
        withExtendedLifetime((server, meters)) {}
    }

    /// HC-18: a byte comes back, full segments do not.
    @Test func aProbeNoticesThatFullSegmentsAreLost() throws {
        let server = try FakeServer { connection in
            let asked = try connection.receiveLine(limit: 1 << 16, milliseconds: 5_000)
            guard String(decoding: asked, as: UTF8.self).contains("echo") else {
                return try connection.send(line: Array(#"{"version":2,"type":"inventory","gpus":[]}"#.utf8))
            }
            try connection.send(line: Array(#"{"version":2,"type":"echoing"}"#.utf8))
            connection.beginBlocks(milliseconds: 5_000)
            var block: [UInt8] = []
            let count = try connection.receiveBlock(into: &block, limit: 1)
            try connection.send(block, count: count)
            // What follows is lost on the way.
            usleep(2_500_000)
        }
        let answer = try ServerProbe.reading(of: server.address).answer.get()
        #expect(answer.path?.problem == .fullSegmentsAreLost)
        withExtendedLifetime(server) {}
    }

    /// HC-08: a server refuses what is not of its version, and says which that is.
    @Test func aProbeLearnsAnotherProtocolsVersion() throws {
        let server = try FakeServer { connection in
            _ = try connection.receiveLine(limit: 1 << 16, milliseconds: 5_000)
            try connection.send(line: Array(#"{"version":7,"type":"refused","code":"malformed","message":"no"}"#.utf8))
        }
        #expect(try ServerProbe.reading(of: server.address).answer.get().protocolVersion == 7)
        withExtendedLifetime(server) {}
    }

    @Test func aProbeNamesAServerThatIsNotThere() throws {
        let address: ServerAddress
        do {
            let server = try FakeServer { _ in }
            address = server.address
            server.stop()
        }
        let reading = ServerProbe.reading(of: address)
        let failure = #expect(throws: SourceFailure.self) { try reading.answer.get() }
        #expect(failure?.reason.contains("\(address) is not reached") == true)
    }
}

/// Accepts connections on a free port of 127.0.0.1 and lets a test speak on each.
private final class FakeServer: Sendable {
    let address: ServerAddress
    /// Closed when the thread below has seen its end: the number may be another test's socket at once.
    private let listener: LineConnection

    init(_ speak: @escaping @Sendable (LineConnection) throws -> Void) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        listener = LineConnection(adopting: descriptor)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard bind(descriptor, address, length) == 0, listen(descriptor, 8) == 0 else { return Int32(-1) }
                return getsockname(descriptor, address, &length)
            }
        }
        try #require(code == 0)
        address = ServerAddress(host: "127.0.0.1", port: UInt16(bigEndian: name.sin_port))
        startThread { [listener] in
            while true {
                let accepted = accept(listener.descriptor, nil, nil)
                guard accepted >= 0 else { return }
                startThread { try? speak(LineConnection(adopting: accepted)) }
            }
        }
    }

    func stop() { listener.shutDown() }

    deinit { stop() }
}

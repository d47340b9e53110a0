// SPDX-License-Identifier: Apache-2.0
import Pool
import PoolSimulation
import Scheduling
import Testing

/// `--filter` (B-04).
@Suite struct FilterTests {
    private let facts = ServerFacts(
        hostname: "gpu1", addresses: ["10.0.0.7", "fe80::1"], hasRDMA: false, cudaVersion: "12.4",
        driverVersion: "550.54.15")
    private let gpu = GPU(
        index: 1, name: "Tesla T4", uuid: "GPU-1", totalMiB: 15109, pciBusID: "00000000:13:00.0")

    private func holds(_ texts: String...) throws -> Bool {
        let filter = try Filter(texts)
        return filter.holds(for: facts) && filter.holds(for: gpu)
    }

    @Test(
        arguments: [
            ("server.addr=10.0.0.7", true), ("server.addr=10.0.0.8", false), ("server.addr!=10.0.0.8", true),
            ("server.hostname=gpu1", true), ("server.hostname!=gpu1", false), ("server.hostname=gpu", false),
            ("server.has-rdma=true", false), ("server.has-rdma=false", true), ("server.has-rdma!=true", true),
            ("server.cuda-version=12.4", true), ("server.cuda-version=12.4.0", true),
            ("server.cuda-version>=12.10", false), ("server.cuda-version>=9.2", true),
            ("server.cuda-version<=12.4", true), ("server.cuda-version!=12.4", false),
            ("server.driver-version>=535", true), ("server.driver-version<=549.9", false),
            ("device.id=1", true), ("device.id=0", false), ("device.id>=1", true), ("device.id!=1", false),
            ("device.name=Tesla", true), ("device.name=A100", false), ("device.name!=A100", true),
            ("device.phy-memory=15109", true), ("device.phy-memory>=16000", false),
            ("device.phy-memory<=16000", true),
        ])
    func comparesEachKey(text: String, expected: Bool) throws { #expect(try holds(text) == expected) }

    @Test func differentKeysMustAllHoldAndOneValueOfAKey() throws {
        #expect(try holds("device.name=Tesla", "server.hostname=gpu1"))
        #expect(try !holds("device.name=Tesla", "server.hostname=gpu2"))
        #expect(try holds("server.hostname=gpu2", "server.hostname=gpu1"))
        #expect(try holds("device.phy-memory>=15000", "device.phy-memory<=16000"))
        #expect(try !holds("device.phy-memory>=15000", "device.phy-memory<=15001"))
    }

    @Test func aVersionThatIsNotKnownMatchesNothing() throws {
        var unknown = facts
        unknown.driverVersion = nil
        #expect(try !Filter(["server.driver-version>=1"]).holds(for: unknown))
    }

    @Test(
        arguments: [
            "", "device.name", "=x", "device.name=", "colour=red", "device.name>=T", "device.id=x", "device.id>x",
            "server.has-rdma=yes", "server.hostname<=a", "device.phy-memory=1.5",
        ])
    func refusesWhatIsNoCondition(text: String) {
        #expect(throws: Filter.Malformed.self) { try Filter([text]) }
    }

    @Test func onlyGPUsThatPassAreGiven() throws {
        var scheduler = server(1000, 2000, 3000)
        let large = try Filter(["device.phy-memory>=2000"])
        #expect(
            scheduler.handle(.requested(1, .init(try demand(2), filter: large)))
                == [.offer(1, .init(gpus: [1, 2], mebibytes: nil))])
        guard
            case .refuse(2, .impossible, let reason)? =
                scheduler.handle(.requested(2, .init(try demand(3), filter: large))).first
        else {
            Issue.record("not refused")
            return
        }
        #expect(reason.contains("this server has 2 that pass the filter device.phy-memory>=2000"))
    }

    @Test func whatAFilterKeepsOffIsNotReserved() throws {
        var scheduler = server(1000, 2000)
        _ = try scheduler.ask(1, 1, .mebibytes(2000))
        _ = scheduler.handle(
            .requested(2, .init(try demand(1), filter: try Filter(["device.phy-memory>=2000"]))))
        #expect(
            try scheduler.ask(3, 1) == [.offer(3, .init(gpus: [0], mebibytes: nil))],
            "the small GPU is of no use to the one that waits")
    }
}

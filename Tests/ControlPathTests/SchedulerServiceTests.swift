// SPDX-License-Identifier: Apache-2.0
import Glibc
import Manager
import ManagerClient
import Pool
import Testing
import Threads

/// The resource scheduler over its protocol: who owns what, until when.
@Suite struct SchedulerServiceTests {
    @Test func listsItsGPUs() throws {
        let reply = try TestServer([4096, 1024]).list()
        #expect(reply.gpus?.map(\.totalMiB) == [4096, 1024])
        #expect(reply.gpus?.map(\.freeMiB) == [4096, 1024])
        #expect(reply.runningTasks == 0 && reply.waitingTasks == 0 && reply.driverVersion == 13050)
    }

    @Test func aConnectionMayListAgain() throws {
        let server = try TestServer()
        let client = try SchedulerClient(server.address)
        for _ in 0..<3 { #expect(try client.list().type == .inventory) }
    }

    @Test func grantsGPUsWithATicketOfTheirOwn() throws {
        let server = try TestServer()
        let (first, one) = try server.ask(1, mib: 1024)
        let (second, two) = try server.ask(1, share: 0.5)
        #expect(one.type == .granted && two.type == .granted)
        #expect(one.ticket?.count == 64 && one.ticket != two.ticket)
        #expect(one.dispatcherPort == 55001)
        #expect(one.gpus?.map(\.allocatedMiB) == [1024] && two.gpus?.map(\.allocatedMiB) == [2048])
        #expect(try server.list().runningTasks == 2)
        withExtendedLifetime((first, second)) {}
    }

    @Test func theEndOfTheConnectionFreesTheGPUs() throws {
        let server = try TestServer()
        var client: SchedulerClient? = try server.ask(2).0
        #expect(try server.list().gpus?.map(\.freeMiB) == [0, 0])
        client = nil
        _ = client
        #expect(try server.becomes { $0.runningTasks == 0 && $0.gpus?.map(\.freeMiB) == [4096, 4096] })
    }

    @Test func aReleaseIsAnsweredWhenTheGPUsAreFree() throws {
        let server = try TestServer()
        let (client, _) = try server.ask(2)
        try client.send(SchedulerRequest(.release))
        #expect(try client.answer().type == .released)
        #expect(try server.list().runningTasks == 0)
    }

    @Test func aTicketIsKnownAsLongAsItsConnection() throws {
        let server = try TestServer()
        var granted: (SchedulerClient, SchedulerReply)? = try server.ask(1, mib: 100)
        let ticket = try #require(granted?.1.ticket.flatMap { Ticket(hexadecimal: $0) })
        let allocation = try #require(server.scheduler.allocation(ticket: ticket))
        #expect(allocation.mebibytes == 100 && allocation.devices == [0])
        #expect(server.scheduler.allocation(ticket: Ticket()) == nil)
        granted = nil
        _ = granted
        #expect(try server.becomes { $0.runningTasks == 0 })
        #expect(server.scheduler.allocation(ticket: ticket) == nil)
    }

    /// A killed worker holds its memory until the kernel has ended it: nobody else may be given it before.
    @Test func memoryIsFreeOnlyWhenTheWorkersAreGone() throws {
        let workersMayEnd = Watched(false)
        let server = try TestServer([4096]) { _ in
            _ = workersMayEnd.wait(milliseconds: 20_000) { $0 ? true : nil }
        }
        var client: SchedulerClient? = try server.ask(1).0
        client = nil
        _ = client
        #expect(try !server.becomes(within: 0.3) { $0.gpus?.map(\.freeMiB) == [4096] })
        #expect(try server.ask(1, mib: 1).1.code == .timeout)
        workersMayEnd.withLock { $0 = true }
        #expect(try server.becomes { $0.gpus?.map(\.freeMiB) == [4096] })
    }

    @Test func whoWaitsIsToldWhyAndThenServed() throws {
        let server = try TestServer([4096])
        var owner: SchedulerClient? = try server.ask(1).0
        let (client, waiting) = try server.ask(1, waitSeconds: 30)
        #expect(waiting.type == .waiting && waiting.position == 1 && waiting.message?.isEmpty == false)
        #expect(try server.list().waitingTasks == 1)
        owner = nil
        _ = owner
        #expect(try client.answerTakingOffers().type == .granted)
    }

    @Test func whoGoesWhileWaitingLeavesTheQueue() throws {
        let server = try TestServer([4096])
        let (owner, _) = try server.ask(1)
        var client: SchedulerClient? = try server.ask(1, waitSeconds: 30).0
        client = nil
        _ = client
        #expect(try server.becomes { $0.waitingTasks == 0 })
        withExtendedLifetime(owner) {}
    }

    @Test func theWaitEndsAfterItsTime() throws {
        let server = try TestServer([4096])
        let (owner, _) = try server.ask(1)
        let begin = ContinuousClock.now
        let (client, waiting) = try server.ask(1, waitSeconds: 1)
        #expect(waiting.type == .waiting)
        let reply = try client.answer()
        #expect(reply.type == .refused && reply.code == .timeout)
        #expect(ContinuousClock.now - begin >= .milliseconds(950))
        withExtendedLifetime(owner) {}
    }

    @Test func whatCanNeverBeMetIsRefusedAtOnce() throws {
        let server = try TestServer()
        for (count, mib) in [(3, nil), (1, 4097), (2, 5000)] {
            let reply = try server.ask(count, mib: mib, waitSeconds: 60).1
            #expect(reply.type == .refused && reply.code == .impossible, "\(count) x \(mib ?? 0)")
        }
        #expect(try server.list().waitingTasks == 0)
    }

    @Test func manyClientsAtOnceNeverGetMoreThanThereIs() throws {
        let server = try TestServer([1000])
        let clients = 24
        let tally = Watched(Tally())
        for _ in 0..<clients {
            startThread {
                for _ in 0..<5 {
                    let isServed = (try? serve(oneOf: tally, at: server)) ?? false
                    if !isServed { tally.withLock { $0.failures += 1 } }
                }
                tally.withLock { $0.finished += 1 }
            }
        }
        let end = tally.wait(milliseconds: 60_000) { $0.finished == clients ? $0 : nil }
        #expect(end?.failures == 0)
        #expect(end?.mostAtOnce ?? 0 <= 3)
        #expect(try server.becomes { $0.runningTasks == 0 && $0.waitingTasks == 0 })
    }

    private struct Tally {
        var now = 0
        var mostAtOnce = 0
        var failures = 0
        var finished = 0
    }

    /// Waits for 300 MiB, holds them for a moment, and gives them back.
    private func serve(oneOf tally: Watched<Tally>, at server: TestServer) throws -> Bool {
        var (client, reply) = try server.ask(1, mib: 300, waitSeconds: 60)
        while reply.type == .waiting { reply = try client.answerTakingOffers(milliseconds: 30_000) }
        guard reply.type == .granted else { return false }
        tally.withLock { tally in
            tally.now += 1
            tally.mostAtOnce = max(tally.mostAtOnce, tally.now)
        }
        usleep(2_000)
        tally.withLock { $0.now -= 1 }
        try client.send(SchedulerRequest(.release))
        return try client.answer().type == .released
    }

    @Test func aServerThatStopsTellsOwnersAndThoseWhoWait() throws {
        let server = try TestServer([4096])
        let (owner, _) = try server.ask(1)
        let (client, _) = try server.ask(1, waitSeconds: 60)
        server.scheduler.stop()
        for connection in [owner, client] {
            let reply = try connection.answer()
            #expect(reply.code == .unavailable && reply.message?.contains("stopping") == true)
        }
        #expect(try server.ask(1).1.code == .unavailable)
    }

    // MARK: Offers and releases

    @Test func anOfferThatNobodyAcceptsIsServedToTheNext() throws {
        let server = try TestServer([4096])
        let silent = try SchedulerClient(server.address)
        try silent.send(TestServer.request(1, waitSeconds: 30))
        #expect(try silent.answer().type == .offer)
        let (client, waiting) = try server.ask(1, waitSeconds: 30)
        #expect(waiting.type == .waiting)
        server.keepTime(milliseconds: Int(SchedulerRequest.offerSeconds) * 1000 + 1000)
        #expect(try client.answerTakingOffers().type == .granted)
        #expect(try silent.answer().code == .timeout)
    }

    @Test func aClientThatDiesBetweenOfferAndAcceptanceLosesNothingForLong() throws {
        let server = try TestServer([4096])
        var dying: SchedulerClient? = try SchedulerClient(server.address)
        try dying?.send(TestServer.request(1))
        #expect(try dying?.answer().type == .offer)
        dying = nil
        #expect(try server.becomes { $0.gpus?.map(\.freeMiB) == [4096] })
    }

    @Test func aTicketReleasesFromAnotherConnection() throws {
        let server = try TestServer([4096])
        let (owner, granted) = try server.ask(1)
        var release = SchedulerRequest(.release)
        release.ticket = granted.ticket
        let other = try SchedulerClient(server.address)
        try other.send(release)
        #expect(try other.answer().type == .released)
        #expect(try server.list().runningTasks == 0)
        #expect(try owner.answer().type == .ended)
        try other.send(release)
        #expect(try other.answer().code == .unavailable, "once")
    }

    @Test(arguments: ["", "00", "zz", String(repeating: "0", count: 64), String(repeating: "f", count: 9999)])
    func aForgedTicketReleasesNothing(ticket: String) throws {
        let server = try TestServer([4096])
        let (owner, _) = try server.ask(1)
        var release = SchedulerRequest(.release)
        release.ticket = ticket
        let other = try SchedulerClient(server.address)
        try other.send(release)
        #expect(try other.answer().type == .refused)
        #expect(try server.list().runningTasks == 1)
        withExtendedLifetime(owner) {}
    }

    @Test func anOwnerMayAskAgainOnItsConnection() throws {
        let server = try TestServer([4096])
        let (client, _) = try server.ask(1)
        try client.send(SchedulerRequest(.heartbeat))
        try client.send(SchedulerRequest(.release))
        #expect(try client.answer().type == .released)
        try client.send(TestServer.request(1))
        #expect(try client.answerTakingOffers().type == .granted)
    }

    // MARK: Settings

    @Test func settingsHoldFromTheMomentTheyAreApplied() throws {
        let server = try TestServer([4096])
        let (owner, _) = try server.ask(1, mib: 100)
        var settings = PoolSettings()
        settings.acceptsRequests = false
        server.scheduler.apply(settings)
        #expect(try server.list().isDraining == true)
        let refused = try server.ask(1, mib: 100, waitSeconds: 60).1
        #expect(refused.code == .unavailable && refused.message?.contains("draining") == true)
        #expect(try server.list().runningTasks == 1)
        settings = PoolSettings()
        settings.quotaGPUs = 0.5
        server.scheduler.apply(settings)
        #expect(try server.ask(1).1.code == .quota)
        withExtendedLifetime(owner) {}
    }

    @Test func idleMinutesAreToldWithTheGrant() throws {
        var settings = PoolSettings()
        settings.idleMinutes = 7
        #expect(try TestServer(settings: settings).ask(1).1.idleMinutes == 7)
    }

    @Test func filtersChooseTheGPU() throws {
        let server = try TestServer([1000, 2000])
        #expect(try server.ask(1, filters: ["device.phy-memory>=2000"]).1.gpus?.map(\.index) == [1])
        let refused = try server.ask(1, filters: ["colour=red"]).1
        #expect(refused.code == .malformed && refused.message?.contains("colour") == true)
        #expect(try server.ask(1, filters: ["device.name=A100"]).1.code == .impossible)
    }

    /// CFG-01: whoever finds nothing here learns where else to ask.
    @Test func otherServersAreReportedWhereTheyHelp() throws {
        var settings = PoolSettings()
        settings.servers = ["10.0.0.8", "gpu-2:5600"]
        let server = try TestServer([1000], settings: settings)
        #expect(try server.list().servers == settings.servers)
        let (owner, granted) = try server.ask(1)
        #expect(granted.servers == nil)
        #expect(try server.ask(2).1.servers == settings.servers, "refused")
        let waiter = try SchedulerClient(server.address)
        try waiter.send(TestServer.request(1, waitSeconds: 60))
        #expect(try waiter.answer().servers == settings.servers)
        #expect(waiter.reportedServers == settings.servers)
        withExtendedLifetime(owner) {}
    }

    @Test func aTicketIsReadBackExactly() {
        let ticket = Ticket()
        #expect(Ticket(hexadecimal: ticket.hexadecimal)?.matches(ticket) == true)
        #expect(!Ticket().matches(ticket))
        #expect(Ticket(bytes: Array(ticket.bytes.dropLast())) == nil)
        for text in [
            "", String(ticket.hexadecimal.dropLast()), ticket.hexadecimal + "00", " " + ticket.hexadecimal.dropLast(),
        ] {
            #expect(Ticket(hexadecimal: text) == nil)
        }
    }
}

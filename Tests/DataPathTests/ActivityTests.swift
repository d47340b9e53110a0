// SPDX-License-Identifier: Apache-2.0
import Driver
import Glibc
import RemoteDriver
import Session
import SoftGPU
import Testing
import Transport

@testable import AllocationLedger

/// What a session tells the ledger, by which idle allocations are known.
@Suite struct ActivityTests {
    @Test func aClientIsActiveAsLongAsTheGPUWorksForIt() throws {
        let ledger = try AllocationLedger(deviceCount: 1, limitBytes: nil)
        ledger.open(slot: 0)
        let slot = try LedgerSlot(ledger, number: 0)
        let gpu = try SoftGPU(SoftGPUConfiguration("1x64"))
        var ends: [Int32] = [0, 0]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
        let serverEnd = Connection(adopting: ends[1])
        let clientEnd = Connection(adopting: ends[0])
        try inBackground { _ = Session(serverEnd, driver: gpu, slot: slot, lookSeconds: 1).run() }
        let client = RemoteDriver(clientEnd, try gpu.describe(), server: "this process")
        #expect(ledger.activity == LedgerActivity(counter: 0, isRunning: false))

        let context = try client.cuDevicePrimaryCtxRetain(dev: 0)
        #expect(ledger.activity.counter > 0 && ledger.activity.isRunning)
        // Work that the session only sees when it looks.
        let behind = try gpu.cuDevicePrimaryCtxRetain(dev: 0)
        let gate = Gate()
        try gpu.cuLaunchHostFunc(behind, stream: .legacyDefault) { gate.wait() }
        let counter = ledger.activity.counter
        usleep(2_500_000)
        #expect(ledger.activity == LedgerActivity(counter: counter, isRunning: true))
        gate.open()
        #expect(becomesIdle(ledger))
        #expect(ledger.activity.counter == counter, "looking is no activity")

        _ = try client.cuMemGetInfo_v2(context)
        #expect(ledger.activity.counter > counter && ledger.activity.isRunning)
        #expect(becomesIdle(ledger))
        // The session ends with its connection.
        clientEnd.shutDown()
    }

    private func becomesIdle(_ ledger: AllocationLedger) -> Bool {
        for _ in 0..<500 {
            if !ledger.activity.isRunning { return true }
            usleep(10_000)
        }
        return false
    }

    private func inBackground(_ body: @escaping @Sendable () -> Void) throws {
        final class Body: Sendable {
            let run: @Sendable () -> Void
            init(_ run: @escaping @Sendable () -> Void) { self.run = run }
        }
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(Body(body)).toOpaque())
        try #require(code == 0)
        pthread_detach(thread)
    }
}

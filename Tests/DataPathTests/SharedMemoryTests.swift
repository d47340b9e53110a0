// SPDX-License-Identifier: Apache-2.0
import CSystem
import Driver
import Glibc
import RemoteDriver
import Session
import SoftGPU
import Synchronization
import Testing
import Transport
import Wire

/// How client and worker come to share memory, and what a peer can do with it.
@Suite struct SharedMemoryTests {
    @Test func aNameThatDoesNotExistHereLeavesTheConnection() throws {
        let (client, server) = try DriverContract.connectionPair()
        let host = try #require(SharedMemoryHost())
        let zeros = [UInt8](repeating: 0, count: SharedMemoryOffer.secretByteCount)
        let elsewhere = SharedMemoryOffer(name: "bitfusion-elsewhere", key: zeros, proof: zeros)
        let settled = try Connection.settle(client, elsewhere)
        #expect(settled === client && settled.shared == nil)
        #expect(host.settle(server) === server)
    }

    @Test func whoDoesNotKnowTheKeyGetsNothing() throws {
        let (client, server) = try DriverContract.connectionPair()
        let host = try #require(SharedMemoryHost())
        let outcome = Mutex<Connection?>(nil)
        let isSettled = Atomic<Bool>(false)
        let wrong = SharedMemoryOffer(name: host.offer.name, key: host.offer.proof, proof: host.offer.proof)
        withBackground {
            let settled = host.settle(server)
            outcome.withLock { $0 = settled }
            isSettled.store(true, ordering: .releasing)
        } until: {
            #expect((try? Connection.settle(client, wrong))?.shared == nil)
            while !isSettled.load(ordering: .acquiring) { usleep(1000) }
        }
        #expect(outcome.withLock { $0 } === server)
    }

    @Test func aWorkerThatDoesNotKnowTheProofIsNotBelieved() throws {
        let (client, server) = try DriverContract.connectionPair()
        let host = try #require(SharedMemoryHost())
        let wrong = SharedMemoryOffer(name: host.offer.name, key: host.offer.key, proof: host.offer.key)
        let isSettled = Atomic<Bool>(false)
        withBackground {
            #expect(host.settle(server) === server)
            isSettled.store(true, ordering: .releasing)
        } until: {
            #expect((try? Connection.settle(client, wrong))?.shared == nil)
            while !isSettled.load(ordering: .acquiring) { usleep(1000) }
        }
    }

    @Test func theMemoryCannotBeTakenAway() throws {
        let peer = try Peer()
        #expect(ftruncate(peer.file, 0) == -1)
        #expect(peer.end(with: {}) == .clientClosed)
    }

    @Test func aPositionThatCannotBeEndsTheSession() throws {
        for position: UInt64 in [.max, 1 << 40, 1 << 20 + 1] {
            let peer = try Peer()
            let end = peer.end { peer.setWritten(position) }
            #expect(end == .connectionLost("Protocol error"), "position \(position)")
        }
    }

    @Test func bytesThatAreNoFramesEndTheSession() throws {
        var random = SystemRandomNumberGenerator()
        for round in 0..<20 {
            let peer = try Peer()
            let end = peer.end {
                for offset in 0..<64 * 1024 / 8 { peer.store(random.next(), at: offset * 8) }
                // Half of them begin with a length that is there: then the next number is none that is expected.
                if round % 2 == 0 { peer.store(8 | random.next() << 32, at: 0) }
                peer.setWritten(64 * 1024)
            }
            #expect(end.isProtocolBroken || end == .clientClosed && round % 2 == 1, "round \(round) ended as \(end)")
        }
    }

    /// The worker has looked at a frame; then it changes.
    @Test func bytesThatChangeMeanwhileHarmNobody() throws {
        var random = SystemRandomNumberGenerator()
        let peer = try Peer()
        let end = peer.end {
            var written: UInt64 = 0
            for sequence in 1...20_000 {
                // A free of nothing, whose length changes while it is read.
                let place = Int(written % (1 << 20))
                guard place + 40 < 1 << 20 else { break }
                peer.store(UInt64(8) | UInt64(Call.cuMemFree_v2.rawValue) << 32, at: place)
                peer.store(UInt64(sequence), at: place + 8)
                for offset in [16, 24, 32] { peer.store(0, at: place + offset) }
                written += 40
                peer.setWritten(written)
                peer.store(random.next() & 0xFFFF | UInt64(Call.cuMemFree_v2.rawValue) << 32, at: place)
            }
        }
        // Whatever it made of that, it is alive and says so.
        #expect(end == .clientClosed || end.isProtocolBroken)
    }

    private func withBackground(_ body: @escaping @Sendable () -> Void, until wait: () -> Void) {
        DriverContract.startThread(body)
        wait()
    }
}

extension Session.End {
    fileprivate var isProtocolBroken: Bool { if case .protocolBroken = self { true } else { false } }
}

/// A client that has the memory and keeps no rule, and a session at the other end.
private final class Peer: Sendable {
    let file: Int32
    private let first: Int32
    private let bell: Int32
    private let base: UInt

    init() throws {
        var ends: [Int32] = [0, 0]
        // A process that another test starts must not keep them open.
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try #require(socketpair(AF_UNIX, kind, 0, &ends) == 0)
        let host = try #require(SharedMemoryHost())
        let gpu = try SoftGPU(SoftGPUConfiguration("1x64"))
        let server = Connection(adopting: ends[1])
        let offer = host.offer
        let done = Done()
        DriverContract.startThread {
            let end = host.settle(server).map { Session($0, driver: gpu).run() }
            done.end.withLock { $0 = .some(end ?? .clientClosed) }
        }
        self.done = done
        first = ends[0]
        let bell = socket(AF_UNIX, kind, 0)
        self.bell = bell
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: [0] + Array(offer.name.utf8)) }
        let length = socklen_t(2 + 1 + offer.name.utf8.count)
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(bell, $0, length) }
        }
        try #require(code == 0)
        _ = send(bell, offer.key, offer.key.count, 0)
        var proof = [UInt8](repeating: 0, count: SharedMemoryOffer.secretByteCount)
        var descriptor: Int32 = -1
        _ = csystem_receive_descriptors(bell, &descriptor, 1, &proof, proof.count)
        #expect(proof == offer.proof)
        file = descriptor
        let mapped = mmap(nil, csystem_sealed_size(descriptor), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        base = UInt(bitPattern: mapped)
        var choice = SharedMemoryOffer.Choice.sharedMemory.rawValue
        _ = send(first, &choice, 1, 0)
    }

    private final class Done: Sendable {
        let end = Mutex<Session.End?>(nil)
    }
    private let done: Done

    deinit {
        munmap(UnsafeMutableRawPointer(bitPattern: base), csystem_sealed_size(file))
        close(file)
    }

    /// Bytes of the ring of commands, which begins behind 64 KiB.
    func store(_ value: UInt64, at offset: Int) {
        UnsafeMutableRawPointer(bitPattern: base)?.storeBytes(of: value, toByteOffset: 65536 + offset, as: UInt64.self)
    }

    /// How far it has been written, and rings.
    func setWritten(_ position: UInt64) {
        UnsafeMutableRawPointer(bitPattern: base)?.assumingMemoryBound(to: Atomic<UInt64>.self).pointee
            .store(position, ordering: .sequentiallyConsistent)
        var byte: UInt8 = 1
        _ = send(bell, &byte, 1, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
    }

    /// How the session ended after `mischief` and the end of this side.
    func end(with mischief: () -> Void) -> Session.End {
        mischief()
        usleep(20_000)
        close(bell)
        close(first)
        // Longer than anything takes on a busy machine.
        for _ in 0..<60_000 {
            if let end = done.end.withLock({ $0 }) { return end }
            usleep(1000)
        }
        return .connectionLost("the session hangs")
    }
}

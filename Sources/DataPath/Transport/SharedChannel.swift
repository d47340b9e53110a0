// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc

/// Bytes both ways through ``SharedMemory``, and a socket beside it.
///
/// A reader that has polled for long enough says so in the memory and sleeps on the socket; the writer rings by a byte.
/// So nothing runs while nothing travels, and the end of either process is seen where it is slept, as with a socket
/// alone.
///
/// SAFETY: one thread at a time reads and one writes, as a ``Connection`` demands of both.
package final class SharedChannel: @unchecked Sendable {
    private let memory: SharedMemory
    private let bell: Int32
    private var writer: RingWriter
    private var reader: RingReader
    private var lastLook: UInt64 = 0
    private var spin = Spin()

    /// A copy is cut into frames of so many bytes: both sides work on different ones at a time.
    package static let copyFrameBytes = SharedMemory.ringBytes / 8
    /// The largest frame that is looked at in one piece.
    package static let wholeFrameBytesMax = SharedMemory.ringBytes * 3 / 4
    /// What a long block is published in.
    private static let pieceBytes = 64 << 10
    /// How often a writer that waits for room looks whether the other side is still there.
    private static let roomNanoseconds = 5_000_000
    /// How often a writer that does not wait looks.
    private static let lookNanoseconds: UInt64 = 1_000_000

    enum Side { case client, worker }

    init(_ memory: SharedMemory, bell: Int32, _ side: Side) {
        self.memory = memory
        self.bell = bell
        writer = RingWriter(memory.ring(side == .client ? .commands : .replies))
        reader = RingReader(memory.ring(side == .client ? .replies : .commands))
    }

    // MARK: Writing

    /// Writes everything.
    ///
    /// False when the peer is gone; errno says why.
    func write(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, whileBlocked: () -> Bool
    ) -> Bool {
        guard peerIsThere() else { return false }
        // Small things are seen at once, or not at all.
        if let room = writer.room, first.count + second.count <= min(room, SharedChannel.pieceBytes) {
            writer.append(first)
            writer.append(second)
            return publish()
        }
        return writePieces(first, whileBlocked) && writePieces(second, whileBlocked)
    }

    private func writePieces(_ bytes: UnsafeRawBufferPointer, _ whileBlocked: () -> Bool) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            guard let room = waitForRoom(1, whileBlocked) else { return false }
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(min(room, SharedChannel.pieceBytes)))
            writer.append(piece)
            guard publish() else { return false }
            rest = UnsafeRawBufferPointer(rebasing: rest[piece.count...])
        }
        return true
    }

    /// A place in the ring for so many bytes, for ``commit(_:)`` to send; nil when the peer is gone.
    package func reserve(_ count: Int) -> UnsafeMutableRawBufferPointer? {
        guard waitForRoom(count, { false }) != nil else { return nil }
        return UnsafeMutableRawBufferPointer(start: writer.place, count: count)
    }

    /// Sends the first bytes of what was reserved.
    ///
    /// False when the peer is gone.
    package func commit(_ count: Int) -> Bool {
        writer.advance(count)
        return publish()
    }

    private func publish() -> Bool {
        guard writer.publish() else { return true }
        var byte: UInt8 = 1
        // A bell that is full of bytes rings already.
        return send(bell, &byte, 1, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) >= 0 || errno == EAGAIN
    }

    /// Waits until so many bytes fit, and returns how many do; nil when the peer is gone.
    private func waitForRoom(_ count: Int, _ whileBlocked: () -> Bool) -> Int? {
        let start = nanoseconds()
        while true {
            for _ in 0..<64 {
                guard let room = writer.room else { return protocolBroken() }
                if room >= count { return room }
                csystem_relax()
            }
            if nanoseconds() - start < Connection.spinNanoseconds || whileBlocked() { continue }
            writer.waitForRoom(beyond: count - 1, nanoseconds: SharedChannel.roomNanoseconds)
            guard !hasHungUp() else { return nil }
        }
    }

    /// Whether the peer lives, as far as that is known without asking all the time.
    private func peerIsThere() -> Bool {
        let now = nanoseconds()
        guard now - lastLook > SharedChannel.lookNanoseconds else { return true }
        lastLook = now
        return !hasHungUp()
    }

    private func hasHungUp() -> Bool {
        var entry = pollfd(fd: bell, events: pollHangUp, revents: 0)
        guard poll(&entry, 1, 0) > 0 else { return false }
        errno = EPIPE
        return true
    }

    private func protocolBroken() -> Int? {
        errno = EPROTO
        return nil
    }

    // MARK: Reading

    /// What can be read, in one piece; nil when the peer has written nonsense, and errno says so.
    ///
    /// The peer may change the bytes at any time.
    package var view: UnsafeRawBufferPointer? {
        guard let count = reader.available else {
            errno = EPROTO
            return nil
        }
        return UnsafeRawBufferPointer(start: reader.place, count: count)
    }

    /// Gives the first bytes of ``view`` back.
    package func consume(_ count: Int) { reader.consume(count) }

    /// Moves the first bytes of ``view`` to a place of one's own.
    package func take(_ count: Int, to target: UnsafeMutableRawPointer?) {
        guard let target else { return }
        csystem_copy(target, reader.place, count)
        reader.consume(count)
    }

    /// Waits until more than `count` bytes can be read: polls for a bounded time, then sleeps.
    ///
    /// Positive then, 0 at the end, negative on an error.
    package func waitForMore(than count: Int = 0) -> Int {
        let polled = spin.poll { () -> Int? in
            guard let available = view?.count else { return -1 }
            if available > count { return available }
            csystem_relax()
            return nil
        }
        if let polled { return polled }
        while true {
            reader.announceSleep()
            if let found = found(beyond: count) { return found }
            let rung = hear(waits: true)
            if let found = found(beyond: count) { return found }
            if rung <= 0 { return rung }
        }
    }

    private func found(beyond count: Int) -> Int? {
        guard let available = view?.count else { return -1 }
        guard available > count else { return nil }
        reader.announceWaking()
        return available
    }

    /// As ``waitForMore(than:)`` without waiting: nil when there is nothing new.
    package func lookForMore(than count: Int = 0) -> Int? {
        guard let available = view?.count else { return -1 }
        if available > count { return available }
        let rung = hear(waits: false)
        if rung < 0 && errno == EAGAIN { return nil }
        if rung > 0 { return nil }
        // What was written before the end is there by now.
        guard let last = view?.count else { return -1 }
        return last > count ? last : rung
    }

    /// Empties the bell: positive when it was rung, 0 at the end, negative on an error.
    private func hear(waits: Bool) -> Int {
        withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { room in
            while true {
                let count = recv(bell, room.baseAddress, room.count, waits ? 0 : Int32(MSG_DONTWAIT))
                if count >= 0 || errno != EINTR { return count }
            }
        }
    }

    /// Waits a short time, or until more than `count` bytes can be read or the peer ends.
    package func waitReadable(beyond count: Int, nanoseconds: Int) {
        reader.announceSleep()
        if let available = view?.count, available <= count { csystem_wait_readable(bell, nanoseconds) }
        reader.announceWaking()
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let available = waitForMore()
        return available > 0 ? taken(available, into: buffer) : available
    }

    func readNow(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        guard let available = lookForMore() else { return nil }
        return available > 0 ? taken(available, into: buffer) : available
    }

    private func taken(_ available: Int, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(available, buffer.count)
        take(count, to: buffer.baseAddress)
        return count
    }

    func readExactly(_ buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var rest = buffer
        while !rest.isEmpty {
            let count = read(into: UnsafeMutableRawBufferPointer(rebasing: rest.prefix(SharedChannel.pieceBytes)))
            guard count > 0 else {
                if count == 0 { errno = 0 }
                return false
            }
            rest = UnsafeMutableRawBufferPointer(rebasing: rest[count...])
        }
        return true
    }
}

/// `POLLRDHUP`: the other end has closed, or shut down, its side.
private let pollHangUp: Int16 = 0x2000

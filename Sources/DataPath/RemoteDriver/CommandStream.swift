// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSystem
import Driver
import Glibc
import Transport
import Wire

/// The one ordered stream of frames from this process to its worker.
///
/// The order in which threads append is the order of execution. Appending copies a frame into a buffer under a short
/// lock; no lock is held across I/O. One thread at a time writes the buffer out: the one whose call waits, the one that
/// finds it full, the one that finds the stream idle, or the flusher, within ``flushIntervalNanoseconds``.
///
/// SAFETY: the buffers are touched only under `lock`, or by the thread that holds the writer's role (`isWriting`).
final class CommandStream: @unchecked Sendable {
    /// Frames that may wait in the buffer before an appending thread has to wait for the network.
    static let bufferBytes = 256 << 10
    /// With so much gathered, the appending thread writes it out.
    static let flushBytes = 32 << 10
    /// Blocks from this size are written from the caller's memory instead of being copied into the buffer.
    static let directBlockBytes = 16 << 10
    /// The longest that a posted call waits for company.
    static let flushIntervalNanoseconds = 50_000
    /// After so many intervals without a frame that nobody waits for the flusher sleeps until it is woken.
    static let idleIntervalsMax = 20

    private let connection: Connection
    /// Reads what the server sends, if nobody else does: it may take nothing more before that is read.
    private let whileBlocked: () -> Bool
    private let lock = Lock()
    private let writerDone = Condition()
    private let flusherNeeded = Condition()

    private var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferBytes, alignment: 64)
    private var spare = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferBytes, alignment: 64)
    private var used = 0
    private var nextSequence: UInt64 = 1
    private var isWriting = false
    private var mustFlush = false
    private var writes: UInt64 = 0
    /// Calls that nobody waits for.
    private var posts: UInt64 = 0
    private var isFlusherParked = false
    private var hasFlusher = false
    private var isBroken = false

    /// How soon a write that the server does not take makes the client read.
    private static let blockedMilliseconds = 20

    init(_ connection: Connection, whileBlocked: @escaping () -> Bool) {
        self.connection = connection
        self.whileBlocked = whileBlocked
        connection.setWriteTimeout(milliseconds: CommandStream.blockedMilliseconds)
    }

    deinit {
        buffer.deallocate()
        spare.deallocate()
    }

    /// Appends a frame and returns its sequence number.
    ///
    /// With `waits`, everything up to it is on its way on return. `register` learns the number before the frame can be
    /// answered.
    @inline(__always)
    func append(
        _ call: UInt16, flags: FrameHeader.Flags, context: UInt64, byteCount: Int, waits: Bool,
        register: (UInt64) -> Void, fill: (inout FrameWriter) -> Void
    ) throws(CUDAError) {
        let need = FrameHeader.byteCount + byteCount
        precondition(need <= CommandStream.bufferBytes, "a frame of values fits the buffer")
        lock.lock()
        while used + need > CommandStream.bufferBytes && !isBroken {
            if isWriting { writerDone.wait(lock) } else { writeOut() }
        }
        guard !isBroken, let base = buffer.baseAddress else {
            lock.unlock()
            throw .connectionLost
        }
        register(nextSequence)
        let start = base + used
        FrameHeader(
            payloadByteCount: UInt32(byteCount), call: call, flags: flags, sequence: nextSequence, context: context
        ).store(at: start)
        var writer = FrameWriter(start + FrameHeader.byteCount, byteCount: byteCount)
        fill(&writer)
        nextSequence += 1
        used += need
        if !waits {
            posts &+= 1
            if isFlusherParked { flusherNeeded.signal() }
            if !hasFlusher { startFlusher() }
        }
        if waits || isFlusherParked || !hasFlusher || used >= CommandStream.flushBytes {
            if isWriting { mustFlush = true } else { writeOut() }
        }
        lock.unlock()
    }

    /// Appends a frame whose payload ends with a block, which is written from the caller's memory; on return the block
    /// is not needed any more.
    func append(
        _ call: UInt16, flags: FrameHeader.Flags, context: UInt64, byteCount: Int, block: UnsafeRawBufferPointer,
        register: (UInt64) -> Void, fill: (inout FrameWriter) -> Void
    ) throws(CUDAError) {
        if block.count < CommandStream.directBlockBytes {
            try append(
                call, flags: flags, context: context, byteCount: byteCount + block.count,
                waits: flags.contains(.wantsReply), register: register
            ) { frame in
                fill(&frame)
                frame.write(bytes: block)
            }
            return
        }
        let need = FrameHeader.byteCount + byteCount
        lock.lock()
        while (isWriting || used + need > CommandStream.bufferBytes) && !isBroken {
            if isWriting { writerDone.wait(lock) } else { writeOut() }
        }
        guard !isBroken, let base = buffer.baseAddress else {
            lock.unlock()
            throw .connectionLost
        }
        register(nextSequence)
        let start = base + used
        FrameHeader(
            payloadByteCount: UInt32(byteCount + block.count), call: call, flags: flags, sequence: nextSequence,
            context: context
        ).store(at: start)
        var writer = FrameWriter(start + FrameHeader.byteCount, byteCount: byteCount)
        fill(&writer)
        nextSequence += 1
        used += need
        writeOut(block)
        lock.unlock()
    }

    /// Writes the buffer, and then a block, to the socket.
    ///
    /// Called with the lock, which is given up meanwhile.
    private func writeOut(_ block: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)) {
        var block = block
        isWriting = true
        repeat {
            mustFlush = false
            swap(&buffer, &spare)
            let bytes = UnsafeRawBufferPointer(rebasing: spare[..<used])
            used = 0
            writes &+= 1
            lock.unlock()
            let isWritten = connection.write(bytes, block, whileBlocked: whileBlocked)
            lock.lock()
            block = UnsafeRawBufferPointer(start: nil, count: 0)
            if !isWritten { isBroken = true }
        } while !isBroken && used > 0 && (mustFlush || used >= CommandStream.flushBytes)
        isWriting = false
        writerDone.broadcast()
    }

    /// Makes every later call fail.
    func fail() {
        lock.lock()
        isBroken = true
        writerDone.broadcast()
        flusherNeeded.signal()
        lock.unlock()
    }

    private func startFlusher() {
        hasFlusher = true
        isFlusherParked = false
        let retained = Unmanaged.passRetained(self)
        let isStarted = startThread(retained.toOpaque()) { pointer in
            // SAFETY: balances the retain above; the thread owns the stream while it runs.
            let stream = Unmanaged<CommandStream>.fromOpaque(pointer).takeRetainedValue()
            stream.flush()
        }
        // Without a thread every call is written out at once: slower, but right.
        if !isStarted {
            retained.release()
            hasFlusher = false
        }
    }

    /// The flusher's life: writes out what waited for an interval, sleeps when nothing comes.
    private func flush() {
        csystem_set_timer_slack(1000)
        lock.lock()
        var seenWrites = writes
        var seenPosts = posts
        var idleIntervals = 0
        while !isBroken {
            if idleIntervals >= CommandStream.idleIntervalsMax {
                isFlusherParked = true
                flusherNeeded.wait(lock)
                isFlusherParked = false
                idleIntervals = 0
            }
            lock.unlock()
            var interval = timespec(tv_sec: 0, tv_nsec: CommandStream.flushIntervalNanoseconds)
            nanosleep(&interval, nil)
            lock.lock()
            if used > 0 && !isWriting && writes == seenWrites && !isBroken { writeOut() }
            idleIntervals = posts == seenPosts && used == 0 ? idleIntervals + 1 : 0
            seenWrites = writes
            seenPosts = posts
        }
        lock.unlock()
    }
}

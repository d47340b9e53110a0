// SPDX-License-Identifier: Apache-2.0
package import AllocationLedger
import CCUDA
import CSystem
package import Driver
import Glibc
package import ModuleCache
package import Transport
import Wire

/// One application's connection to a driver.
///
/// One thread reads, performs and answers, in the order of the frames. A call that waits for the GPU does not stop it:
/// the wait is remembered as a ``Completion`` and answered when its events are done, while the next frames are
/// performed.
package final class Session {
    /// Why a session ended.
    package enum End: Sendable, Equatable {
        case clientClosed
        case connectionLost(String)
        case protocolBroken(String)
    }

    let driver: any Driver
    let connection: Connection
    /// Where it is told what the client does; nil without an allocation.
    let slot: LedgerSlot?
    /// What the ledger has been told last: whether the GPU may be working.
    var isMarkedRunning = false
    /// Where images of modules are kept for later sessions; nil where they are not.
    let cache: ModuleCache?
    /// The image whose parts are arriving.
    var incomingImage: IncomingImage?
    /// Text that kernels print, taken by whoever runs the session.
    private let outputs: [(source: any OutputSource, kind: ReplyHeader.Kind)]

    var contexts = HandleTable<ContextHandle>(unknown: .invalidContext)
    var modules = HandleTable<ModuleHandle>()
    var functions = HandleTable<FunctionHandle>()
    var streams = HandleTable<StreamHandle>()
    var events = HandleTable<EventHandle>()
    var pools = HandleTable<MemoryPoolHandle>()
    var physicalMemory = HandleTable<PhysicalMemoryHandle>()
    var graphs = HandleTable<GraphHandle>()
    var graphDrafts = HandleTable<GraphDraftHandle>()
    var arrays = HandleTable<ArrayHandle>()
    var mipmappedArrays = HandleTable<MipmappedArrayHandle>()
    /// The client's numbers of the levels that it has asked for, by the number of the mipmapped array.
    var levelsOfMipmappedArray: [UInt64: [UInt64]] = [:]
    /// Texture and surface objects that the client has made, by the number of their context.
    var textures = ObjectValues()
    var surfaces = ObjectValues()
    var greenContexts = HandleTable<GreenContextHandle>(unknown: .invalidContext)
    /// The client's number of the green context of each stream that belongs to one.
    var greenContextOfStream: [UInt64: UInt64] = [:]
    /// The client's number of the context of each stream.
    var contextOfStream: [UInt64: UInt64] = [:]

    /// Events behind the work of streams that have ended, by the client's number of their context.
    var orphanedWork: [UInt64: [EventHandle]] = [:]
    var completions: [Completion] = []
    var idleEvents: [UInt64: [EventHandle]] = [:]
    /// Landing places that are not in use, by the client's number of their context, with which they end.
    var idleLandings: [UInt64: [UnsafeMutableRawBufferPointer]] = [:]
    let hostFunctions: HostFunctionRelay
    /// Whether a stream has ever waited for a value in memory, which a later frame may be the one to write.
    var hasWaitedForValues = false
    /// The failure of a call that nobody waited for; the next call that waits returns it.
    var deferredError: CUDAError?
    /// The copy whose bytes are arriving.
    var incomingCopy: IncomingCopy?
    private var expectedSequence: UInt64 = 1
    /// Set by a call that will be answered by a ``Completion``, or has answered itself.
    var isAnswered = false

    var input = UnsafeMutableRawBufferPointer.allocate(byteCount: inputBytes, alignment: 64)
    var inputStart = 0
    var inputEnd = 0
    /// Bytes in shared memory that are the beginning of a frame.
    var incompleteBytes = 0
    private var output: [UInt8] = []
    var reply = PayloadWriter()
    /// A place for copies to the host, with a reply's header in front of it.
    ///
    /// It begins on a page, as device memory does: where the two differ by some bytes, some processors copy five times
    /// slower (glibc bug 30994).
    var staging: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: stagingPages[Session.pageBytes...])
    }
    private let stagingPages = UnsafeMutableRawBufferPointer.allocate(
        byteCount: pageBytes + Limits.copyFrameBytes, alignment: pageBytes)
    private static let pageBytes = 4096

    /// Room for a copy's frame and some small ones; it grows for a larger frame and shrinks again.
    private static let inputBytes = 1 << 20
    /// Read at once, so that of a large copy little is read before it is known as one.
    private static let readBytesMax = 128 << 10
    /// Answers gathered before they are written although more frames wait.
    private static let outputBytesMax = 64 << 10

    package init(
        _ connection: Connection, driver: any Driver, slot: LedgerSlot? = nil, cache: ModuleCache? = nil,
        lookSeconds: Int = Session.lookSeconds, standardOutput: (any OutputSource)? = nil,
        standardError: (any OutputSource)? = nil
    ) {
        self.connection = connection
        self.driver = driver
        self.slot = slot
        self.cache = cache
        connection.setReadTimeout(seconds: lookSeconds)
        outputs = [(standardOutput, .output), (standardError, ReplyHeader.Kind.errorOutput)].compactMap {
            source, kind in
            source.map { ($0, kind) }
        }
        hostFunctions = HostFunctionRelay()
        output.reserveCapacity(2 * Session.outputBytesMax)
    }

    deinit {
        input.deallocate()
        stagingPages.deallocate()
    }

    /// Serves the connection until it ends, then frees everything that the client has made.
    package func run() -> End {
        let end = serve()
        hostFunctions.releaseAll()
        release()
        return end
    }

    private func serve() -> End {
        do {
            while true {
                try performWaitingFrames()
                try pollCompletions()
                try announceHostFunctions()
                try flush()
                if let end = try receive() { return end }
            }
        } catch let error as WireError {
            return .protocolBroken(error.description)
        } catch let error as ConnectionFailure {
            return .connectionLost(error.message)
        } catch {
            return .connectionLost("\(error)")
        }
    }

    /// Performs every frame that has arrived completely.
    private func performWaitingFrames() throws {
        let first = expectedSequence
        defer { if expectedSequence != first { noteActivity() } }
        if let shared = connection.shared { try takeFrames(shared) }
        while let base = input.baseAddress {
            if incomingCopy != nil {
                guard continueCopy() else { break }
                continue
            }
            guard inputEnd - inputStart >= FrameHeader.byteCount else { break }
            let header = FrameHeader(at: base + inputStart)
            let payload = Int(header.payloadByteCount)
            guard payload <= Limits.frameBytesMax else { throw WireError.tooLong(payload, limit: Limits.frameBytesMax) }
            let frame = FrameHeader.byteCount + payload
            guard inputEnd - inputStart >= frame else {
                if try beginCopy(header) { continue }
                return makeRoom(for: frame)
            }
            try performNext(
                header, UnsafeRawBufferPointer(start: base + inputStart + FrameHeader.byteCount, count: payload))
            inputStart += frame
            if output.count >= Session.outputBytesMax { try flush() }
        }
        if inputStart == inputEnd {
            inputStart = 0
            inputEnd = 0
            if input.count > Session.inputBytes { resizeInput(to: Session.inputBytes) }
        }
    }

    /// Performs the frame that must come next.
    func performNext(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer) throws {
        try count(header)
        try perform(header, payload)
    }

    /// Takes a frame as the next.
    func count(_ header: FrameHeader) throws(WireError) {
        guard header.sequence == expectedSequence else {
            throw .outOfSequence(expected: expectedSequence, found: header.sequence)
        }
        expectedSequence += 1
    }

    /// Makes room for more of a frame: as much again as has come, so that nobody makes the worker allocate what he only
    /// announces.
    private func makeRoom(for frame: Int) {
        if inputStart + frame <= input.count { return }
        if inputStart > 0 { moveInput(to: input) }
        if inputEnd == input.count { resizeInput(to: min(frame, 2 * input.count)) }
    }

    func moveInput(to target: UnsafeMutableRawBufferPointer) {
        guard let base = input.baseAddress, let start = target.baseAddress else { return }
        memmove(start, base + inputStart, inputEnd - inputStart)
        inputEnd -= inputStart
        inputStart = 0
    }

    private func resizeInput(to byteCount: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
        moveInput(to: larger)
        input.deallocate()
        input = larger
    }

    func perform(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer, mayPostpone: Bool = true) throws {
        var request = WireReader(RawSpan(_unsafeBytes: payload))
        if header.flags.contains(.hostFunctionReturned) {
            hostFunctions.returned(try request.read(UInt64.self))
            return
        }
        guard let call = Call(rawValue: header.call) else { throw WireError.unknownCall(header.call) }
        if mayPostpone, mayNeedFrames, Session.waitsForWork.contains(call) {
            return try postpone(header, payload)
        }
        let wantsReply = header.flags.contains(.wantsReply)
        var status = CUDA_SUCCESS
        reply.removeAll()
        isAnswered = false
        if wantsReply, let error = deferredError {
            deferredError = nil
            status = error.code
        } else {
            do {
                if let outcome = try performQuery(call, header, &request) {
                    status = outcome
                } else {
                    try perform(call, header, &request, &reply)
                }
            } catch let error as CUDAError {
                status = error.code
                if !wantsReply && deferredError == nil { deferredError = error }
            }
        }
        guard wantsReply && !isAnswered else { return }
        // What has landed by now must be on its way before an answer that promises it.
        if !completions.isEmpty { try pollCompletions() }
        try answer(header.sequence, status)
    }

    /// Answers with what the call has written.
    private func answer(_ sequence: UInt64, _ status: CUresult) throws {
        try forwardOutput()
        append(
            ReplyHeader(
                payloadByteCount: UInt32(reply.bytes.count), status: status.rawValue, sequence: sequence, kind: .reply))
        output.append(contentsOf: reply.bytes)
    }

    /// Answers without values.
    func answer(_ sequence: UInt64, status: CUresult) throws {
        try forwardOutput()
        append(ReplyHeader(payloadByteCount: 0, status: status.rawValue, sequence: sequence, kind: .reply))
    }

    /// A place for so many bytes that will be the answer's payload, with room for its header in front: in the memory
    /// that is shared with the client, or ``staging``.
    func placeForAnswer(byteCount: Int) throws -> UnsafeMutableRawBufferPointer {
        guard let shared = connection.shared else {
            return UnsafeMutableRawBufferPointer(rebasing: staging[..<byteCount])
        }
        try flush()
        guard let place = shared.reserve(ReplyHeader.byteCount + byteCount) else {
            throw ConnectionFailure(errorText(errno))
        }
        return UnsafeMutableRawBufferPointer(rebasing: place[ReplyHeader.byteCount...])
    }

    /// Answers with what was written to the place for it.
    func answer(_ sequence: UInt64, with place: UnsafeMutableRawBufferPointer) throws {
        guard let base = place.baseAddress else { return }
        let start = base - ReplyHeader.byteCount
        ReplyHeader(payloadByteCount: UInt32(place.count), status: 0, sequence: sequence, kind: .reply).store(at: start)
        let count = ReplyHeader.byteCount + place.count
        guard let shared = connection.shared else {
            try flush()
            return try write(UnsafeRawBufferPointer(start: start, count: count))
        }
        guard shared.commit(count) else { throw ConnectionFailure(errorText(errno)) }
    }

    /// Answers with bytes of another buffer.
    func answer(_ sequence: UInt64, payload: UnsafeRawBufferPointer) throws {
        append(ReplyHeader(payloadByteCount: UInt32(payload.count), status: 0, sequence: sequence, kind: .reply))
        try flush()
        try write(payload)
    }

    func append(_ header: ReplyHeader) {
        withUnsafeTemporaryAllocation(byteCount: ReplyHeader.byteCount, alignment: 8) { room in
            guard let base = room.baseAddress else { return }
            header.store(at: base)
            output.append(contentsOf: room)
        }
    }

    /// Sends what kernels have printed, ahead of the answer by which the application may expect it.
    private func forwardOutput() throws {
        for (source, kind) in outputs {
            let text = source.takeOutput()
            guard !text.isEmpty else { continue }
            append(ReplyHeader(payloadByteCount: UInt32(text.count), status: 0, sequence: 0, kind: kind))
            output.append(contentsOf: text)
        }
    }

    func flush() throws {
        guard !output.isEmpty else { return }
        try output.withUnsafeBytes { try write($0) }
        output.removeAll(keepingCapacity: true)
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard connection.write(bytes) else { throw ConnectionFailure(errorText(errno)) }
    }

    /// Reads more.
    ///
    /// While something is to be completed it only looks, sleeping longer the longer that takes.
    private func receive() throws -> End? {
        if let shared = connection.shared, isBetweenFrames {
            return ended(
                mayBlock ? shared.waitForMore(than: incompleteBytes) : shared.lookForMore(than: incompleteBytes))
        }
        if inputEnd == input.count { makeRoom(for: input.count) }
        // No more of a copy than is performed at once, and nothing behind it: so it stays in the core's cache.
        let wanted =
            if let incomingCopy { incomingCopy.wantedBytes(inputEnd - inputStart) } else {
                connection.shared == nil ? Session.readBytesMax : missingBytes
            }
        let room = UnsafeMutableRawBufferPointer(rebasing: input[inputEnd...].prefix(wanted))
        let count = mayBlock ? connection.read(into: room, spins: true) : connection.readNow(into: room)
        if let count, count > 0 { inputEnd += count }
        return ended(count)
    }

    /// Whether nothing is to be done but what the client asks for.
    private var mayBlock: Bool { completions.isEmpty && !hostFunctions.isBusy }

    /// What the outcome of a read means; nil is nothing to read.
    private func ended(_ count: Int?) -> End? {
        guard let count else {
            pause()
            return nil
        }
        waitStart = 0
        if count > 0 { return nil }
        if count == 0 { return .clientClosed }
        guard errno == EAGAIN else { return .connectionLost(errorText(errno)) }
        noteSilence()
        return nil
    }

    private var waitStart: UInt64 = 0

    /// Lets time pass between two looks at the events: nothing for the first microseconds, then an eighth of what the
    /// wait has taken so far, at most ``pauseNanosecondsMax``.
    ///
    /// Whatever arrives on the socket ends it.
    private func pause() {
        let now = nanoseconds()
        if waitStart == 0 { waitStart = now }
        let waited = now - waitStart
        guard waited > Session.pauseAfterNanoseconds else { return }
        connection.waitReadable(beyond: incompleteBytes, nanoseconds: Int(min(waited / 8, Session.pauseNanosecondsMax)))
    }

    private static let pauseAfterNanoseconds: UInt64 = 20_000
    private static let pauseNanosecondsMax: UInt64 = 200_000

    /// Frees what the client has left behind.
    ///
    /// Contexts end with everything in them.
    private func release() {
        completions.removeAll()
        let primary = Set(primaryContexts.values)
        for context in greenContexts.all.values { try? driver.cuGreenCtxDestroy(hCtx: context) }
        for context in contexts.all.values where !primary.contains(context) {
            try? driver.cuCtxDestroy_v2(ctx: context)
        }
        for (device, context) in primaryContexts {
            try? driver.cuDevicePrimaryCtxRelease_v2(dev: device, context: context)
        }
        for pool in pools.all.values { try? driver.cuMemPoolDestroy(pool: pool) }
        for memory in physicalMemory.all.values { try? driver.cuMemRelease(handle: memory) }
    }

    /// Primary contexts that the client holds, by device.
    var primaryContexts: [Int32: ContextHandle] = [:]
}

/// Where text that kernels print comes from.
package protocol OutputSource: AnyObject {
    /// Takes what has been printed since the last time.
    func takeOutput() -> [UInt8]
}

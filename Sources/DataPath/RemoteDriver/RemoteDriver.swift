// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSystem
package import Driver
import Glibc
import ProgramImage
import Synchronization
package import Transport
import Wire

/// A driver on another machine: each call becomes a frame of the command stream.
///
/// Calls that only enqueue work are sent and forgotten; the numbers of handles are chosen here, so that making one does
/// not wait either.
package final class RemoteDriver: Driver {
    let stream: CommandStream
    let replies: ReplyReader
    private let connection: Connection
    private let description: DriverDescription
    private let nextHandle = Atomic<UInt64>(1)
    let images: ImagePolicy
    /// Held while the parts of an image are sent.
    let imageBeingSent = Mutex(())
    let hostFunctions = Mutex(HostFunctions())
    /// The primary contexts that have been retained, by device, and how often.
    let primaryContexts = Mutex<[Int32: (context: ContextHandle, retains: Int)]>([:])

    /// Takes over a connection on which the server has accepted the hello.
    package init(
        _ connection: Connection, _ description: DriverDescription, server: String, images: ImagePolicy? = nil
    ) {
        self.connection = connection
        self.description = description
        self.images =
            images
            ?? ImagePolicy(
                abilities: [], selection: CodeSelection(description, compilation: .asNeeded), mayBeKept: false)
        let replies = ReplyReader(connection)
        self.replies = replies
        stream = CommandStream(connection, whileBlocked: { replies.deliverWaiting() })
        replies.output = { isError, bytes in
            // C's buffered streams, so that the text keeps its place among the application's own.
            csystem_print(bytes.baseAddress, bytes.count, isError ? 1 : 0)
        }
        replies.onFailure = { [stream] reason in
            stream.fail()
            writeError("bitfusion: lost the GPU server \(server): \(reason). CUDA calls now fail.\n")
        }
    }

    package func describe() throws(CUDAError) -> DriverDescription { description }

    /// The bytes of a copy that travel in one frame.
    var copyFrameBytes: Int { connection.copyFrameBytes }

    /// Bytes that the network has still to take; nil through shared memory.
    var queuedBytes: Int? { connection.queuedBytes }
    var isSharingMemory: Bool { connection.shared != nil }

    /// The number of a handle that is being made.
    func newHandle() -> UInt64 { nextHandle.add(1, ordering: .relaxed).oldValue }

    /// Sends a call and forgets it.
    ///
    /// `stream` is where it becomes work, if it does.
    @inline(__always)
    func post(
        _ call: Call, _ context: ContextHandle, byteCount: Int, stream target: StreamHandle? = nil,
        fill: (inout FrameWriter) -> Void
    ) throws(CUDAError) {
        if replies.enqueuedHostFunctions.load(ordering: .relaxed) > 0, let target { waitForRoom(in: target) }
        try stream.append(
            call.rawValue, flags: [], context: context.bits, byteCount: byteCount, waits: false, register: { _ in },
            fill: fill)
    }

    /// Sends a call that ends with a block, which has been read when this returns.
    func post(
        _ call: Call, _ context: ContextHandle, byteCount: Int, stream target: StreamHandle? = nil, block: RawSpan,
        fill: (inout FrameWriter) -> Void
    ) throws(CUDAError) {
        if replies.enqueuedHostFunctions.load(ordering: .relaxed) > 0, let target { waitForRoom(in: target) }
        try block.withUnsafeBytes { bytes throws(CUDAError) in
            try stream.append(
                call.rawValue, flags: [], context: context.bits, byteCount: byteCount, block: bytes,
                register: { _ in }, fill: fill)
        }
    }

    /// Sends a call and waits for its reply.
    func call(
        _ call: Call, _ context: ContextHandle, byteCount: Int, fill: (inout FrameWriter) -> Void
    ) throws(CUDAError) -> Reply {
        let pending = replies.begin()
        do throws(CUDAError) {
            try stream.append(
                call.rawValue, flags: .wantsReply, context: context.bits, byteCount: byteCount, waits: true,
                register: { replies.register($0, pending) }, fill: fill)
        } catch {
            replies.leave(pending)
            throw error
        }
        let (status, reply) = try replies.wait(for: pending)
        try check(status)
        return reply
    }

    /// Sends a call whose payload may be larger than the stream's buffer, and waits for its reply, whatever its status.
    func callWithBlock(
        _ call: Call, _ context: ContextHandle, byteCount: Int, block: UnsafeRawBufferPointer,
        fill: (inout FrameWriter) -> Void
    ) throws(CUDAError) -> (status: CUresult, reply: Reply) {
        let pending = replies.begin()
        do throws(CUDAError) {
            try stream.append(
                call.rawValue, flags: .wantsReply, context: context.bits, byteCount: byteCount, block: block,
                register: { replies.register($0, pending) }, fill: fill)
        } catch {
            replies.leave(pending)
            throw error
        }
        let (status, reply) = try replies.wait(for: pending)
        return (status, reply)
    }

    /// Asks for bytes that will be written to `target` when they come; they are there before any later reply.
    func land(
        _ call: Call, _ context: ContextHandle, byteCount: Int, into target: UnsafeMutableRawBufferPointer,
        isUntouched: Bool = false, _ pending: PendingReply, waits: Bool, fill: (inout FrameWriter) -> Void
    ) throws(CUDAError) {
        try stream.append(
            call.rawValue, flags: .wantsReply, context: context.bits, byteCount: byteCount, waits: waits,
            register: { replies.register($0, pending, into: target, isUntouched: isUntouched) }, fill: fill)
    }
}

/// Writes a line to the application's standard error, without its buffer.
func writeError(_ text: String) {
    var text = text
    text.withUTF8 { _ = Glibc.write(2, $0.baseAddress, $0.count) }
}

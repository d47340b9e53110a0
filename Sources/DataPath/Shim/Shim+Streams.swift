// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Streams. Flags, priority, id and context are known here.
extension Shim {
    // MARK: Making and ending

    func cuStreamCreate(_ phStream: UnsafeMutablePointer<OpaquePointer?>?, _ Flags: UInt32) throws(CUDAError) {
        try cuStreamCreateWithPriority(phStream, Flags, 0)
    }

    /// A priority outside the device's range is brought into it.
    func cuStreamCreateWithPriority(
        _ phStream: UnsafeMutablePointer<OpaquePointer?>?, _ flags: UInt32, _ priority: Int32
    ) throws(CUDAError) {
        guard phStream != nil, flags & ~CU_STREAM_NON_BLOCKING.rawValue == 0 else { throw .invalidValue }
        guard let context = currentContext else { throw .invalidContext }
        // As cuGreenCtxStreamCreate: a green context's default stream and its others do not wait for each other.
        guard context.green == nil || flags == CU_STREAM_NON_BLOCKING.rawValue else { throw .invalidValue }
        try write(handle: try insertStream(in: context, flags: flags, priority: priority).bits, to: phStream)
    }

    func insertStream(in context: Context, flags: UInt32, priority: Int32) throws(CUDAError) -> Stream {
        let description = context.device.description
        let priority = max(description.greatestPriority, min(description.leastPriority, priority))
        let handle = try makeStream(in: context, flags: flags, priority: priority)
        return try streams.insert { bits in
            Stream(bits: bits, id: nextID(), handle: handle, context: context, flags: flags, priority: priority)
        }
    }

    /// Makes a stream of the driver's in a context, which may be a green one.
    func makeStream(in context: Context, flags: UInt32, priority: Int32) throws(CUDAError) -> StreamHandle {
        let handle = try context.handle
        guard let green = context.green else {
            return try driver.cuStreamCreateWithPriority(handle, flags: flags, priority: priority)
        }
        return try driver.cuGreenCtxStreamCreate(handle, greenCtx: green.handle, flags: flags, priority: priority)
    }

    func cuStreamDestroy_v2(_ hStream: OpaquePointer?) throws(CUDAError) {
        guard let stream = streams.remove(bits(hStream)) else { throw .invalidHandle }
        streamEnds(stream)
        // A green context leaves its streams behind, to be ended in the primary context.
        try driver.cuStreamDestroy_v2(try stream.context.home.handle, hStream: stream.handle)
    }

    // MARK: Waiting

    func cuStreamSynchronize(_ hStream: OpaquePointer?, defaultStream: DefaultStream) throws(CUDAError) {
        let target = try target(hStream, defaultStream)
        try driver.cuStreamSynchronize(target.context, hStream: target.stream)
        finishPendingFrees()
        try throwLearntFailure()
    }

    func cuStreamQuery(_ hStream: OpaquePointer?, defaultStream: DefaultStream) throws(CUDAError) {
        let target = try target(hStream, defaultStream)
        try driver.cuStreamQuery(target.context, hStream: target.stream)
    }

    func cuStreamWaitEvent(
        _ hStream: OpaquePointer?, _ hEvent: OpaquePointer?, _ Flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard Flags <= CU_EVENT_WAIT_EXTERNAL.rawValue else { throw .invalidValue }
        let event = try events.object(hEvent)
        let target = try workTarget(hStream, defaultStream)
        if Flags == CU_EVENT_WAIT_EXTERNAL.rawValue {
            // Only a graph can wait for an event as a node of its own.
            guard let stream = target.capturing else { throw .invalidValue }
            return try capture(.wait(event), on: stream)
        }
        if target.capturing != nil || event.capturedRecord != nil,
            try capture(try knownStream(hStream, defaultStream), waitingFor: event)
        {
            return
        }
        try driver.cuStreamWaitEvent(target.context, hStream: target.stream, hEvent: event.handle, flags: 0)
    }

    // MARK: Host functions

    /// A host function with its argument.
    ///
    /// The application answers for calling it on another thread.
    private struct HostCall: @unchecked Sendable {
        let stream: OpaquePointer?
        let function: CUhostFn?
        let callback: CUstreamCallback?
        let argument: UnsafeMutableRawPointer?

        func run() {
            function?(argument)
            callback?(stream, CUDA_SUCCESS, argument)
        }
    }

    func cuStreamAddCallback(
        _ hStream: OpaquePointer?, _ callback: CUstreamCallback?, _ userData: UnsafeMutableRawPointer?,
        _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard let callback, flags == 0 else { throw .invalidValue }
        try enqueue(
            HostCall(stream: hStream, function: nil, callback: callback, argument: userData),
            on: try target(hStream, defaultStream))
    }

    /// A host function can be captured, a callback cannot.
    func cuLaunchHostFunc(
        _ hStream: OpaquePointer?, _ fn: CUhostFn?, _ userData: UnsafeMutableRawPointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard let fn else { throw .invalidValue }
        let target = try workTarget(hStream, defaultStream)
        if let stream = target.capturing {
            return try capture(.host(HostWork(function: fn, argument: userData)), on: stream)
        }
        try enqueue(HostCall(stream: hStream, function: fn, callback: nil, argument: userData), on: target)
    }

    /// The mode says how the waiting thread is woken: blocking or spinning.
    ///
    /// The result is the same.
    func cuLaunchHostFunc_v2(
        _ hStream: OpaquePointer?, _ fn: CUhostFn?, _ userData: UnsafeMutableRawPointer?, _ syncMode: UInt32,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard syncMode <= 1 else { throw .invalidValue }
        try cuLaunchHostFunc(hStream, fn, userData, defaultStream: defaultStream)
    }

    private func enqueue(_ call: HostCall, on target: StreamTarget) throws(CUDAError) {
        try enqueueHostFunction(target.context, target.stream) { call.run() }
    }

    /// Has a function of the application's, or one that touches its memory, called when a stream comes to it.
    func enqueueHostFunction(
        _ context: ContextHandle, _ stream: StreamHandle, _ body: @escaping @Sendable () -> Void
    ) throws(CUDAError) {
        try driver.cuLaunchHostFunc(context, stream: stream) { [shared] in
            ThreadState.current.pointee.isInHostFunction = true
            body()
            ThreadState.current.pointee.isInHostFunction = false
            // Before the stream goes on, to work that was handed everything when it was enqueued.
            if shared.isUsed { shared.handOverAll() }
        }
    }

    // MARK: What is known of a stream

    /// The application's stream, or nil for a default stream, whose context is the current one.
    private func stream(_ hStream: OpaquePointer?) throws(CUDAError) -> Stream? {
        switch bits(hStream) {
        case 0, Self.legacyStreamBits, Self.perThreadStreamBits:
            _ = try activeContext()
            return nil
        case let bits:
            guard let stream = streams[bits] else { throw .invalidHandle }
            return stream
        }
    }

    private func context(ofStream hStream: OpaquePointer?) throws(CUDAError) -> Context {
        if let stream = try stream(hStream) { return stream.context }
        guard let context = currentContext else { throw .invalidContext }
        return context
    }

    func cuStreamGetFlags(
        _ hStream: OpaquePointer?, _ flags: UnsafeMutablePointer<UInt32>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try write(try stream(hStream)?.flags ?? CU_STREAM_DEFAULT.rawValue, to: flags)
    }

    func cuStreamGetPriority(
        _ hStream: OpaquePointer?, _ priority: UnsafeMutablePointer<Int32>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try write(try stream(hStream)?.priority ?? 0, to: priority)
    }

    /// A default stream's id is made of its kind, its context and, where it is the thread's own, the thread.
    func cuStreamGetId(
        _ hStream: OpaquePointer?, _ streamId: UnsafeMutablePointer<UInt64>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        if let stream = try stream(hStream) { return try write(stream.id, to: streamId) }
        let target = try target(hStream, defaultStream)
        let kind: UInt64 = target.stream == .legacyDefault ? 1 : 2
        try write(kind << 62 | (try context(of: target).id) << 32 ^ target.stream.bits, to: streamId)
    }

    func cuStreamGetCtx(
        _ hStream: OpaquePointer?, _ pctx: UnsafeMutablePointer<OpaquePointer?>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try write(handle: try context(ofStream: hStream).bits, to: pctx)
    }

    /// Tells the primary context and the green one of it, if the stream belongs to one.
    func cuStreamGetCtx_v2(
        _ hStream: OpaquePointer?, _ pCtx: UnsafeMutablePointer<OpaquePointer?>?,
        _ pGreenCtx: UnsafeMutablePointer<OpaquePointer?>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let context = try context(ofStream: hStream)
        if context.green != nil, bits(hStream) == Self.perThreadStreamBits { throw .invalidHandle }
        try write(handle: context.homeBits, to: pCtx)
        pGreenCtx?.pointee = context.green.flatMap { OpaquePointer(bitPattern: UInt($0.bits)) }
    }

    func cuStreamGetGreenCtx(
        _ hStream: OpaquePointer?, _ phCtx: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        let context = try context(ofStream: hStream)
        try write(context.green.flatMap { OpaquePointer(bitPattern: UInt($0.bits)) }, to: phCtx)
    }

    /// The multiprocessors that the stream's kernels may use.
    func cuStreamGetDevResource(
        _ hStream: OpaquePointer?, _ resource: UnsafeMutablePointer<CUdevResource>?, _ type: CUdevResourceType,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        let context = try context(ofStream: hStream)
        guard context.isActive else { throw context.streamFailure }
        try write(try self.resource(of: context, type), to: resource)
    }

    func cuStreamGetDevice(
        _ hStream: OpaquePointer?, _ device: UnsafeMutablePointer<CUdevice>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try write(try context(ofStream: hStream).device.ordinal, to: device)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Synchronization

/// Multiprocessors, green contexts, and what concerns all streams of a context.
extension SoftGPU {
    // MARK: Resources

    package func cuDeviceGetDevResource(dev: Int32) throws(CUDAError) -> MultiprocessorResource {
        let profile = try device(dev).profile
        let granularity = MultiprocessorSplitter(capabilityMajor: profile.capabilityMajor).granularity
        let whole = MultiprocessorTable.Resource(
            device: Int(dev), processors: Array(0..<profile.multiprocessors), minPartition: granularity,
            alignment: granularity, flags: 0)
        return try multiprocessors.withLock { table throws(CUDAError) in try table.told(whole) }
    }

    package func cuGreenCtxGetDevResource(hCtx: GreenContextHandle) throws(CUDAError) -> MultiprocessorResource {
        let resource = try greenContext(hCtx).resource
        return try multiprocessors.withLock { table throws(CUDAError) in try table.told(resource) }
    }

    package func cuDevSmResourceSplitByCount(
        input: ResourceNumber, groups: UInt32, flags: UInt32, minCount: UInt32
    ) throws(CUDAError) -> MultiprocessorSplit {
        let source = try resource(input)
        // What a split has made can be split so only as a green context's.
        guard source.split == nil else { throw .invalidResourceConfiguration }
        let (sizes, granularity) = try splitter(source).sizes(
            splitting: source.processors.count, groupsMax: Int(groups), flags: flags, minCount: Int(minCount))
        let origin = MultiprocessorTable.Split(input: input, parameters: [0, groups, flags, minCount])
        let kinds = sizes.groups.map { _ in (alignment: granularity, flags: UInt32(0)) }
        return try split(source, sizes, kinds, origin, remainderAlignment: granularity)
    }

    package func cuDevSmResourceSplit(
        input: ResourceNumber, groups: [MultiprocessorGroup], makesResult: Bool, flags: UInt32
    ) throws(CUDAError) -> MultiprocessorSplit {
        guard flags == 0, !groups.isEmpty else { throw .invalidValue }
        let source = try resource(input)
        let splitter = splitter(source)
        let sizes = try splitter.sizes(
            splitting: source.processors.count, into: groups, makesResult: makesResult)
        var parameters: [UInt32] = [1]
        var kinds: [(alignment: Int, flags: UInt32)] = []
        for group in groups {
            parameters += [group.count, group.coscheduled, group.preferredCoscheduled, group.flags]
            kinds.append((try splitter.coscheduled(group), group.flags))
        }
        let origin = MultiprocessorTable.Split(input: input, parameters: parameters)
        var split = MultiprocessorSplit(groups: [], remainder: nil)
        if makesResult { split = try self.split(source, sizes, kinds, origin, remainderAlignment: 2) }
        split.counts = sizes.groups.map(UInt32.init)
        return split
    }

    private func resource(_ number: ResourceNumber) throws(CUDAError) -> MultiprocessorTable.Resource {
        try multiprocessors.withLock { table throws(CUDAError) in try table.resource(number) }
    }

    private func splitter(_ source: MultiprocessorTable.Resource) -> MultiprocessorSplitter {
        MultiprocessorSplitter(capabilityMajor: devices[source.device].profile.capabilityMajor)
    }

    private func split(
        _ source: MultiprocessorTable.Resource, _ sizes: MultiprocessorSplitter.Sizes,
        _ kinds: [(alignment: Int, flags: UInt32)], _ origin: MultiprocessorTable.Split, remainderAlignment: Int
    ) throws(CUDAError) -> MultiprocessorSplit {
        try multiprocessors.withLock { table throws(CUDAError) in
            var rest = source.processors[...]
            func take(_ count: Int, _ alignment: Int, _ flags: UInt32) throws(CUDAError) -> MultiprocessorResource {
                let part = MultiprocessorTable.Resource(
                    device: source.device, processors: Array(rest.prefix(count)), minPartition: source.minPartition,
                    alignment: alignment, flags: flags, split: origin)
                rest = rest.dropFirst(count)
                return try table.told(part)
            }
            var split = MultiprocessorSplit(groups: [], remainder: nil)
            for (size, kind) in zip(sizes.groups, kinds) {
                split.groups.append(try take(size, kind.alignment, kind.flags))
            }
            if sizes.remainder > 0 { split.remainder = try take(sizes.remainder, remainderAlignment, 0) }
            return split
        }
    }

    package func cuDevResourceGenerateDesc(resources: [ResourceNumber]) throws(CUDAError) -> ResourceNumber {
        try multiprocessors.withLock { table throws(CUDAError) in try table.describe(resources) }
    }

    // MARK: Green contexts

    func greenContext(_ handle: GreenContextHandle) throws(CUDAError) -> GreenContext {
        guard let context = greenContexts[handle.bits] else { throw .invalidContext }
        return context
    }

    package func cuGreenCtxCreate(
        desc: UInt64, dev: Int32, flags: UInt32
    ) throws(CUDAError) -> GreenContextHandle {
        let device = try device(dev)
        guard flags & ~CU_GREEN_CTX_DEFAULT_STREAM.rawValue == 0 else { throw .invalidValue }
        let resource = try multiprocessors.withLock { table throws(CUDAError) in try table.descriptor(desc) }
        guard resource.device == device.ordinal else { throw .invalidDevice }
        let home = try context(try cuDevicePrimaryCtxRetain(dev: dev))
        let made = try greenContexts.insert { GreenContext(bits: $0, home: home, resource: resource) }
        return GreenContextHandle(bits: made.bits)
    }

    /// The streams stay, to be ended by the application, and do no more work.
    package func cuGreenCtxDestroy(hCtx: GreenContextHandle) throws(CUDAError) {
        let ended = try greenContext(hCtx)
        guard greenContexts.remove(ended.bits) != nil else { throw .invalidContext }
        try cuDevicePrimaryCtxRelease_v2(
            dev: Int32(ended.home.device.ordinal), context: ContextHandle(bits: ended.home.bits))
    }

    package func cuGreenCtxStreamCreate(
        _ context: ContextHandle, greenCtx: GreenContextHandle, flags: UInt32, priority: Int32
    ) throws(CUDAError) -> StreamHandle {
        let context = try self.context(context)
        let green = try greenContext(greenCtx)
        guard green.home === context else { throw .invalidContext }
        guard flags == CU_STREAM_NON_BLOCKING.rawValue else { throw .invalidValue }
        let stream = try streams.insert { context.makeStream(bits: $0, flags: flags, greenContext: green) }
        return StreamHandle(bits: stream.bits)
    }

    // MARK: All streams of a context

    package func cuCtxRecordEvent(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        try record(hEvent, try self.context(context), nil)
    }

    package func cuGreenCtxRecordEvent(
        _ context: ContextHandle, hCtx: GreenContextHandle, hEvent: EventHandle
    ) throws(CUDAError) {
        let green = try greenContext(hCtx)
        try record(hEvent, green.home, green)
    }

    /// Records by a stream of its own, which waits for the others.
    private func record(
        _ handle: EventHandle, _ context: Context, _ greenContext: GreenContext?
    ) throws(CUDAError) {
        let event = try event(handle)
        guard event.context == context.bits else { throw .invalidHandle }
        let gatherer = context.makeGatherer()
        for stream in context.streams(of: greenContext) where !stream.isIdle {
            gatherer.submit(.wait(stream.position))
        }
        if let shared = event.shared {
            let number = shared.record()
            gatherer.submit(.housekeeping { shared.reach(number) })
            return
        }
        let timestamp = Timestamp()
        event.record(Event.Recording(position: gatherer.submit(.stamp(timestamp)), timestamp: timestamp))
    }

    package func cuCtxWaitEvent(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        try wait(hEvent, try self.context(context), nil)
    }

    package func cuGreenCtxWaitEvent(
        _ context: ContextHandle, hCtx: GreenContextHandle, hEvent: EventHandle
    ) throws(CUDAError) {
        let green = try greenContext(hCtx)
        try wait(hEvent, green.home, green)
    }

    private func wait(
        _ handle: EventHandle, _ context: Context, _ greenContext: GreenContext?
    ) throws(CUDAError) {
        let event = try event(handle)
        if let shared = event.shared {
            if !shared.isReached { context.wait(for: .waitForValue(shared.wait), of: greenContext) }
            return
        }
        guard let recording = event.recording, !recording.position.isReached else { return }
        context.wait(for: .wait(recording.position), of: greenContext)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Shim
import Synchronization

/// A driver that writes down what it is asked and does nothing.
///
/// Handles and addresses are consecutive numbers.
final class FakeDriver: Driver {
    static let made = Atomic<Int>(0)

    /// Where the process has nothing: the thread sanitizer allows only these, and the other one has its own there.
    private static let base: CUdeviceptr =
        getenv("BITFUSION_SANITIZER").map { String(cString: $0) } == "thread" ? 0x4_0000_0000 : 0x1100_0000_0000

    struct State {
        var calls: [String] = []
        var lastHandle: UInt64 = 0
        /// Every driver has addresses of its own, because the tests of one process reserve them in it.
        var nextAddress: CUdeviceptr =
            FakeDriver.base + CUdeviceptr(FakeDriver.made.add(1, ordering: .relaxed).oldValue) << 29
        /// Where the next allocations are, before consecutive ones.
        var addresses: [CUdeviceptr] = []
        /// The parameter block of the last launch.
        var parameters: [UInt8] = []
        /// Whether waits for events are written down.
        var notesWaits = false
    }

    static let kernel = [KernelParameter(offset: 0, size: 8), KernelParameter(offset: 8, size: 4)]
    let state = Mutex(State())

    /// What was asked since the last time.
    func takeCalls() -> [String] {
        state.withLock { state in
            let calls = state.calls
            state.calls = []
            return calls
        }
    }

    func note(_ call: String) { state.withLock { $0.calls.append(call) } }

    func make<Made: Handle>(_ call: String) -> Made {
        state.withLock { state in
            state.calls.append(call)
            state.lastHandle += 1
            return Made(bits: state.lastHandle)
        }
    }

    private func allocate(_ call: String, _ byteCount: Int) -> CUdeviceptr {
        state.withLock { state in
            state.calls.append(call)
            if !state.addresses.isEmpty { return state.addresses.removeFirst() }
            defer { state.nextAddress += CUdeviceptr(byteCount + 4095) / 4096 * 4096 + 4096 }
            return state.nextAddress
        }
    }

    static let description: DriverDescription = {
        var attributes = [Int32](repeating: 0, count: DeviceDescription.attributeCount)
        for (attribute, value) in [
            (CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024), (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X, 1024),
            (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024), (CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64),
            (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X, Int32.max), (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y, 65535),
            (CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z, 65535), (CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32),
            (CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, 16), (CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 4),
            (CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048),
        ] { attributes[Int(attribute.rawValue)] = value }
        let devices = (0..<2).map { number in
            var attributes = attributes
            attributes[Int(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID.rawValue)] += Int32(number)
            // The second device can do more.
            attributes[Int(CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH.rawValue)] = Int32(number)
            attributes[Int(CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH.rawValue)] = Int32(number)
            attributes[Int(CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH.rawValue)] = Int32(number)
            attributes[Int(CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED.rawValue)] = Int32(number)
            return DeviceDescription(
                name: "Fake \(number)", uuid: [UInt8](repeating: UInt8(number + 1), count: 16), totalBytes: 1 << 30,
                attributes: attributes, canAccessPeer: [number == 1, number == 0], leastPriority: 0,
                greatestPriority: -5)
        }
        return DriverDescription(version: 13050, devices: devices)
    }()

    func describe() throws(CUDAError) -> DriverDescription { Self.description }

    // MARK: Contexts

    func cuDevicePrimaryCtxRetain(dev: Int32) throws(CUDAError) -> ContextHandle { make("retain \(dev)") }
    func cuDevicePrimaryCtxRelease_v2(dev: Int32, context: ContextHandle) throws(CUDAError) { note("release \(dev)") }
    func cuDevicePrimaryCtxSetFlags_v2(dev: Int32, flags: UInt32) throws(CUDAError) { note("flags \(dev) \(flags)") }
    func cuCtxCreate_v2(flags: UInt32, dev: Int32) throws(CUDAError) -> ContextHandle { make("create \(dev)") }
    func cuCtxDestroy_v2(ctx: ContextHandle) throws(CUDAError) { note("destroy") }
    func cuCtxSynchronize(_ context: ContextHandle) throws(CUDAError) { note("synchronize") }
    func cuCtxSetLimit(_ context: ContextHandle, limit: UInt32, value: Int) throws(CUDAError) {}
    func cuCtxGetLimit(_ context: ContextHandle, limit: UInt32) throws(CUDAError) -> Int { 1024 }
    func cuCtxSetCacheConfig(_ context: ContextHandle, config: UInt32) throws(CUDAError) {}
    func cuCtxEnablePeerAccess(
        _ context: ContextHandle, peerContext: ContextHandle, flags: UInt32
    ) throws(CUDAError) { note("peer") }
    func cuCtxDisablePeerAccess(_ context: ContextHandle, peerContext: ContextHandle) throws(CUDAError) {}

    // MARK: Modules and launches

    func cuModuleLoadDataEx(
        _ context: ContextHandle, image: RawSpan, options: [JITOption], log: inout JITLog
    ) throws(CUDAError) -> ModuleHandle {
        log.info = "information"
        log.error = "a long line about an error"
        return make("load \(image.byteCount)")
    }
    func cuModuleUnload(_ context: ContextHandle, hmod: ModuleHandle) throws(CUDAError) { note("unload") }
    func cuModuleGetFunction(
        _ context: ContextHandle, hmod: ModuleHandle, name: String
    ) throws(CUDAError) -> FunctionDescription {
        guard name == "kernel" else { throw .notFound }
        var attributes = [Int32](repeating: 0, count: FunctionDescription.attributeCount)
        attributes[Int(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK.rawValue)] = 512
        attributes[Int(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.rawValue)] = 4096
        return FunctionDescription(function: make("function \(name)"), parameters: Self.kernel, attributes: attributes)
    }
    func cuModuleGetGlobal_v2(
        _ context: ContextHandle, hmod: ModuleHandle, name: String
    ) throws(CUDAError) -> (dptr: CUdeviceptr, bytes: Int) { (allocate("global", 64), 64) }
    func cuModuleEnumerateFunctions(
        _ context: ContextHandle, hmod: ModuleHandle
    ) throws(CUDAError) -> [String] { ["kernel"] }
    func cuLinkComplete(
        _ context: ContextHandle, inputs: [LinkInput], options: [JITOption], log: inout JITLog
    ) throws(CUDAError) -> [UInt8] { inputs.flatMap(\.bytes) }
    func cuFuncGetAttribute(
        _ context: ContextHandle, attrib: UInt32, hfunc: FunctionHandle
    ) throws(CUDAError) -> Int32 { 0 }
    func cuFuncSetAttribute(
        _ context: ContextHandle, hfunc: FunctionHandle, attrib: UInt32, value: Int32
    ) throws(CUDAError) {}
    func cuFuncSetCacheConfig(_ context: ContextHandle, hfunc: FunctionHandle, config: UInt32) throws(CUDAError) {}
    func cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        _ context: ContextHandle, hfunc: FunctionHandle, blockSize: Int32, dynamicSMemSize: Int, flags: UInt32
    ) throws(CUDAError) -> Int32 {
        note("occupancy \(blockSize)")
        return blockSize > 256 ? 1 : 4
    }
    func cuOccupancyAvailableDynamicSMemPerBlock(
        _ context: ContextHandle, hfunc: FunctionHandle, numBlocks: Int32, blockSize: Int32
    ) throws(CUDAError) -> Int { 0 }
    func cuOccupancyMaxActiveClusters(
        _ context: ContextHandle, hfunc: FunctionHandle, _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        note("clusters of \(shape.clusterX)x\(shape.clusterY)x\(shape.clusterZ)")
        return 5
    }
    func cuOccupancyMaxPotentialClusterSize(
        _ context: ContextHandle, hfunc: FunctionHandle, _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        note("cluster of \(shape.blockX)")
        return 8
    }
    func cuLaunchKernel(
        _ context: ContextHandle, f: FunctionHandle, _ shape: LaunchGeometry, stream: StreamHandle,
        parameters: UnsafeRawBufferPointer
    ) throws(CUDAError) {
        state.withLock { state in
            let more = shape.attributeBits == 0 ? "" : " with \(String(shape.attributeBits, radix: 16))"
            state.calls.append("launch \(shape.gridX)x\(shape.blockX) on \(stream.bits)\(more)")
            state.parameters = Array(parameters)
        }
    }
    func cuLaunchHostFunc(
        _ context: ContextHandle, stream: StreamHandle, function: @escaping @Sendable () -> Void
    ) throws(CUDAError) {
        note("host function")
        function()
    }

    // MARK: Memory

    func cuMemAlloc_v2(_ context: ContextHandle, bytesize: Int) throws(CUDAError) -> CUdeviceptr {
        allocate("allocate \(bytesize)", bytesize)
    }
    func cuMemAllocPitch_v2(
        _ context: ContextHandle, widthInBytes: Int, height: Int, elementSizeBytes: UInt32
    ) throws(CUDAError) -> (dptr: CUdeviceptr, pPitch: Int) { (allocate("rows", 512 * height), 512) }
    func cuMemFree_v2(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) { note("free") }
    func cuMemGetInfo_v2(_ context: ContextHandle) throws(CUDAError) -> (free: Int, total: Int) { (1, 2) }
    func cuMemcpyHtoDAsync_v2(
        _ context: ContextHandle, dstDevice: CUdeviceptr, srcHost: RawSpan, hStream: StreamHandle
    ) throws(CUDAError) { note("HtoD \(srcHost.byteCount)") }
    func cuMemcpyDtoH_v2(
        _ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, srcDevice: CUdeviceptr, stream: StreamHandle
    ) throws(CUDAError) { note("DtoH \(dstHost.count)") }
    func cuMemcpyDtoHAsync_v2(
        _ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, srcDevice: CUdeviceptr, stream: StreamHandle
    ) throws(CUDAError) { note("DtoHAsync \(dstHost.count)") }
    func cuMemcpyDtoDAsync_v2(
        _ context: ContextHandle, dstDevice: CUdeviceptr, srcDevice: CUdeviceptr, byteCount: Int, hStream: StreamHandle
    ) throws(CUDAError) { note("DtoD \(byteCount)") }
    func cuMemcpy3DAsync_v2(
        _ context: ContextHandle, target: DeviceBox, source: DeviceBox, extent: Extent, stream: StreamHandle
    ) throws(CUDAError) { note("box DtoD") }
    func cuMemcpy3DHtoDAsync(
        _ context: ContextHandle, target: DeviceBox, packed source: RawSpan, extent: Extent, stream: StreamHandle
    ) throws(CUDAError) {
        let bytes = source.withUnsafeBytes { Array($0) }
        note("box HtoD \(bytes) at \(target.address & 0xfff) pitch \(target.pitch)")
    }
    func cuMemcpy3DDtoH(
        _ context: ContextHandle, packed target: UnsafeMutableRawBufferPointer, source: DeviceBox, extent: Extent,
        stream: StreamHandle
    ) throws(CUDAError) {
        for index in target.indices { target[index] = UInt8(index + 1) }
        note("box DtoH \(target.count)")
    }
    func cuMemsetD8Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, uc: UInt8, n: Int, hStream: StreamHandle
    ) throws(CUDAError) { note("set \(n)") }
    func cuMemsetD16Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, us: UInt16, n: Int, hStream: StreamHandle
    ) throws(CUDAError) { note("set16 \(n)") }
    func cuMemsetD32Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, ui: UInt32, n: Int, hStream: StreamHandle
    ) throws(CUDAError) { note("set32 \(n)") }
    func cuMemsetD2D8Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, dstPitch: Int, uc: UInt8, width: Int, height: Int,
        hStream: StreamHandle
    ) throws(CUDAError) {}
    func cuMemsetD2D16Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, dstPitch: Int, us: UInt16, width: Int, height: Int,
        hStream: StreamHandle
    ) throws(CUDAError) {}
    func cuMemsetD2D32Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, dstPitch: Int, ui: UInt32, width: Int, height: Int,
        hStream: StreamHandle
    ) throws(CUDAError) {}

    // MARK: Pools

    func cuMemAllocAsync(
        _ context: ContextHandle, bytesize: Int, hStream: StreamHandle
    ) throws(CUDAError) -> CUdeviceptr { allocate("allocate in order", bytesize) }
    func cuMemFreeAsync(
        _ context: ContextHandle, dptr: CUdeviceptr, hStream: StreamHandle
    ) throws(CUDAError) { note("free in order") }
    func cuMemAllocFromPoolAsync(
        _ context: ContextHandle, bytesize: Int, pool: MemoryPoolHandle, hStream: StreamHandle
    ) throws(CUDAError) -> CUdeviceptr { allocate("allocate from pool", bytesize) }
    func cuMemPoolCreate(device: Int32, handleTypes: UInt32, maxSize: Int) throws(CUDAError) -> MemoryPoolHandle {
        make("pool")
    }
    func cuMemPoolExportToShareableHandle(pool: MemoryPoolHandle) throws(CUDAError) -> ShareableHandle {
        throw .notSupported
    }
    func cuMemPoolImportFromShareableHandle(handle: ShareableHandle) throws(CUDAError) -> MemoryPoolHandle {
        throw .notSupported
    }
    func cuMemPoolExportPointer(_ context: ContextHandle, ptr: CUdeviceptr) throws(CUDAError) -> ShareableHandle {
        throw .notSupported
    }
    func cuMemPoolImportPointer(
        _ context: ContextHandle, pool: MemoryPoolHandle, shareData: ShareableHandle
    ) throws(CUDAError) -> (ptr: CUdeviceptr, bytesize: Int) { throw .notSupported }
    func cuMemPoolDestroy(pool: MemoryPoolHandle) throws(CUDAError) { note("destroy pool") }
    func cuMemPoolTrimTo(pool: MemoryPoolHandle, minBytesToKeep: Int) throws(CUDAError) {}
    func cuMemPoolSetAttribute(pool: MemoryPoolHandle, attr: UInt32, value: UInt64) throws(CUDAError) {
        note("pool attribute \(value)")
    }
    func cuMemPoolGetAttribute(pool: MemoryPoolHandle, attr: UInt32) throws(CUDAError) -> UInt64 { 7 }
    func cuDeviceGetDefaultMemPool(dev: Int32) throws(CUDAError) -> MemoryPoolHandle { make("default pool \(dev)") }

    // MARK: Graphs

    func cuGraphInstantiate(_ context: ContextHandle, plan: GraphPlan) throws(CUDAError) -> GraphHandle {
        make("graph of \(plan.nodes.count)")
    }
    func cuGraphExecNodeSetParams(
        _ context: ContextHandle, graph: GraphHandle, node: Int, work: DeviceWork
    ) throws(CUDAError) { note("set node \(node)") }
    func cuGraphLaunch(
        _ context: ContextHandle, hGraphExec: GraphHandle, hStream: StreamHandle
    ) throws(CUDAError) { note("launch graph on \(hStream.bits)") }
    func cuGraphExecDestroy(_ context: ContextHandle, hGraphExec: GraphHandle) throws(CUDAError) { note("end graph") }
    func cuGraphCreate(_ context: ContextHandle, flags: UInt32) throws(CUDAError) -> GraphDraftHandle {
        make("begin graph")
    }
    func cuGraphDestroy(_ context: ContextHandle, hGraph: GraphDraftHandle) throws(CUDAError) { note("end begun") }
    func cuGraphConditionalHandleCreate(
        _ context: ContextHandle, hGraph: GraphDraftHandle, defaultLaunchValue: UInt32, flags: UInt32
    ) throws(CUDAError) -> UInt64 {
        let made: GraphDraftHandle = make("condition \(defaultLaunchValue) \(flags)")
        return made.bits
    }
    func cuGraphExecUpdate_v2(_ context: ContextHandle, graph: GraphHandle, plan: GraphPlan) throws(CUDAError) {
        note("update graph of \(plan.nodes.count)")
    }

    // MARK: Streams and events

    func cuStreamCreateWithPriority(
        _ context: ContextHandle, flags: UInt32, priority: Int32
    ) throws(CUDAError) -> StreamHandle { make("stream \(flags) \(priority)") }
    func cuStreamDestroy_v2(_ context: ContextHandle, hStream: StreamHandle) throws(CUDAError) { note("end stream") }
    func cuStreamSynchronize(_ context: ContextHandle, hStream: StreamHandle) throws(CUDAError) {
        note("synchronize \(hStream.bits)")
    }
    func cuStreamQuery(_ context: ContextHandle, hStream: StreamHandle) throws(CUDAError) {}
    func cuStreamWaitEvent(
        _ context: ContextHandle, hStream: StreamHandle, hEvent: EventHandle, flags: UInt32
    ) throws(CUDAError) {
        state.withLock { if $0.notesWaits { $0.calls.append("\(hStream.bits) waits for event \(hEvent.bits)") } }
    }
    func cuEventCreate(_ context: ContextHandle, flags: UInt32) throws(CUDAError) -> EventHandle { make("event") }
    func cuEventDestroy_v2(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {}
    func cuEventRecordWithFlags(
        _ context: ContextHandle, hEvent: EventHandle, hStream: StreamHandle, flags: UInt32
    ) throws(CUDAError) { note("record on \(hStream.bits)") }
    func cuEventQuery(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {}
    func cuEventSynchronize(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {}
    func cuMemAddressReserve(
        size: Int, alignment: Int, addr: CUdeviceptr, flags: UInt64
    ) throws(CUDAError) -> CUdeviceptr { allocate("reserve", size) }
    func cuMemAddressFree(ptr: CUdeviceptr, size: Int) throws(CUDAError) { note("free addresses") }
    func cuMemCreate(
        size: Int, device: Int32, handleTypes: UInt32, allocFlags: UInt64
    ) throws(CUDAError) -> PhysicalMemoryHandle { make("create memory") }
    func cuMemRelease(handle: PhysicalMemoryHandle) throws(CUDAError) { note("release memory") }
    func cuMemMap(
        ptr: CUdeviceptr, size: Int, offset: Int, handle: PhysicalMemoryHandle, flags: UInt64
    ) throws(CUDAError) { note("map") }
    func cuMemUnmap(ptr: CUdeviceptr, size: Int) throws(CUDAError) { note("unmap") }
    func cuMemSetAccess(ptr: CUdeviceptr, size: Int, device: Int32, flags: UInt32) throws(CUDAError) {
        note("access \(flags)")
    }
    func cuMemGetAllocationGranularity(
        device: Int32, handleTypes: UInt32, allocFlags: UInt64, option: UInt32
    ) throws(CUDAError) -> Int { 2 << 20 }
    func cuMemExportToShareableHandle(handle: PhysicalMemoryHandle) throws(CUDAError) -> ShareableHandle {
        ShareableHandle(words: (handle.bits, 0, 0, 0, 0, 0, 0, 0))
    }
    func cuMemImportFromShareableHandle(
        shareableHandle: ShareableHandle
    ) throws(CUDAError) -> PhysicalMemoryHandle { make("import memory") }
    func cuIpcGetMemHandle(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) -> ShareableHandle {
        ShareableHandle(words: (dptr, 0, 0, 0, 0, 0, 0, 0))
    }
    func cuIpcOpenMemHandle_v2(
        _ context: ContextHandle, handle: ShareableHandle, flags: UInt32
    ) throws(CUDAError) -> (dptr: CUdeviceptr, bytesize: Int) { (handle[0], 100) }
    func cuIpcCloseMemHandle(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) { note("close memory") }
    func cuIpcGetEventHandle(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) -> ShareableHandle {
        ShareableHandle(words: (hEvent.bits, 0, 0, 0, 0, 0, 0, 0))
    }
    func cuIpcOpenEventHandle(
        _ context: ContextHandle, handle: ShareableHandle
    ) throws(CUDAError) -> EventHandle { make("open event") }
    func cuStreamBatchMemOp_v2(
        _ context: ContextHandle, stream: StreamHandle, operations: [StreamMemoryOperation]
    ) throws(CUDAError) { note("\(operations.count) memory operations") }
    func cuStreamSetAttribute(
        _ context: ContextHandle, hStream: StreamHandle, attr: UInt32, value: RawSpan
    ) throws(CUDAError) { note("stream attribute \(attr)") }
    func cuFlushGPUDirectRDMAWrites(_ context: ContextHandle, target: UInt32, scope: UInt32) throws(CUDAError) {}
    func cuEventElapsedTime_v2(
        _ context: ContextHandle, hStart: EventHandle, hEnd: EventHandle
    ) throws(CUDAError) -> Float { 1 }
}

extension FakeDriver {
    func cuArray3DCreate_v2(
        _ context: ContextHandle, width: Int, height: Int, depth: Int, format: UInt32, numChannels: UInt32,
        flags: UInt32
    ) throws(CUDAError) -> ArrayHandle { make("array \(width)x\(height)x\(depth)") }
    func cuArrayDestroy(_ context: ContextHandle, hArray: ArrayHandle) throws(CUDAError) { note("end array") }
    func cuMipmappedArrayCreate(
        _ context: ContextHandle, width: Int, height: Int, depth: Int, format: UInt32, numChannels: UInt32,
        flags: UInt32, numMipmapLevels: UInt32
    ) throws(CUDAError) -> MipmappedArrayHandle { make("array of \(numMipmapLevels) levels") }
    func cuMipmappedArrayDestroy(
        _ context: ContextHandle, hMipmappedArray: MipmappedArrayHandle
    ) throws(CUDAError) { note("end levels") }
    func cuMipmappedArrayGetLevel(
        _ context: ContextHandle, hMipmappedArray: MipmappedArrayHandle, level: UInt32
    ) throws(CUDAError) -> ArrayHandle { make("level \(level)") }
    /// The first object of each context is 1, as with drivers of real GPUs.
    func cuTexObjectCreate(
        _ context: ContextHandle, resource: TextureResource, sampler: TextureSampler, view: ResourceView?
    ) throws(CUDAError) -> UInt64 {
        note("texture of context \(context.bits)")
        return 1
    }
    func cuTexObjectDestroy(_ context: ContextHandle, texObject: UInt64) throws(CUDAError) {
        note("end texture \(texObject) of context \(context.bits)")
    }
    func cuSurfObjectCreate(_ context: ContextHandle, array: ArrayHandle) throws(CUDAError) -> UInt64 {
        note("surface")
        return 1
    }
    func cuSurfObjectDestroy(_ context: ContextHandle, surfObject: UInt64) throws(CUDAError) { note("end surface") }
}

/// The driver that the exports of this test program stand on.
let exportedDriver = FakeDriver()

@c @implementation
public func bitfusion_make_driver(_ error: UnsafeMutablePointer<Int32>!) -> UnsafeMutableRawPointer! {
    Unmanaged.passRetained(DriverSource(exportedDriver, hasRemoteMemory: false)).toOpaque()
}

// SPDX-License-Identifier: Apache-2.0

/// Everything a driver is asked to do.
///
/// Append only: the position is the number on the wire.
package let driverCalls: [DriverCall] =
    contextCalls + moduleCalls + launchCalls + memoryCalls + copyCalls + poolCalls + streamCalls + eventCalls
    + graphCalls + arrayCalls + streamMemoryCalls + interprocessCalls + virtualMemoryCalls + clusterCalls
    + greenContextCalls + sharedPoolCalls + multicastCalls + conditionCalls + tensorMapCalls + referenceCalls

private let contextCalls: [DriverCall] = [
    DriverCall(
        "cuDevicePrimaryCtxRetain", .waits, inContext: false, .remoteHalfByHand,
        [.made("pctx", .context), .value("dev", .int32)],
        "Makes the device's primary context active and returns it."),
    DriverCall(
        "cuDevicePrimaryCtxRelease_v2", .waits, inContext: false,
        .byHand(
            declaration: "func cuDevicePrimaryCtxRelease_v2(dev: Int32, context: ContextHandle) throws(CUDAError)"),
        "Gives up the device's primary context, which ends with everything in it."),
    DriverCall(
        "cuDevicePrimaryCtxSetFlags_v2", .waits, inContext: false, [.value("dev", .int32), .value("flags", .uint32)],
        "Sets the flags with which the primary context will be made."),
    DriverCall(
        "cuCtxCreate_v2", .waits, inContext: false, .hostByHand,
        [.made("pctx", .context), .value("flags", .uint32), .value("dev", .int32)],
        "Makes a context on a device."),
    DriverCall(
        "cuCtxDestroy_v2", .waits, inContext: false, .hostByHand, [.ended("ctx", .context)],
        "Ends a context and everything in it, after its work is done."),
    DriverCall(
        "cuCtxSynchronize", .waits, .remoteByHand, [], "Returns when all work of the context is done."),
    DriverCall(
        "cuCtxSetLimit", .waits, [.value("limit", .uint32), .value("value", .size)],
        "Sets a limit (a CUlimit), in bytes or in its own unit."),
    DriverCall(
        "cuCtxGetLimit", .waits, [.result("pvalue", .size), .value("limit", .uint32)],
        "The value of a limit (a CUlimit)."),
    DriverCall("cuCtxSetCacheConfig", .posts, [.value("config", .uint32)], "Prefers L1 cache or shared memory."),
    DriverCall(
        "cuCtxEnablePeerAccess", .waits, [.used("peerContext", .context), .value("flags", .uint32)],
        "Lets kernels of this context reach memory of the other."),
    DriverCall(
        "cuCtxDisablePeerAccess", .waits, [.used("peerContext", .context)], "Takes ``cuCtxEnablePeerAccess`` back."),
]

private let moduleCalls: [DriverCall] = [
    DriverCall(
        "cuModuleLoadDataEx", .waits,
        .byHand(
            declaration:
                "func cuModuleLoadDataEx(_ context: ContextHandle, image: RawSpan, options: [JITOption], "
                + "log: inout JITLog) throws(CUDAError) -> ModuleHandle"),
        "Loads PTX text (NUL-terminated or not), a fat binary container, a cubin or a linker's output."),
    DriverCall("cuModuleUnload", .posts, [.ended("hmod", .module)], "Unloads a module."),
    DriverCall(
        "cuModuleGetFunction", .waits,
        .byHand(
            declaration:
                "func cuModuleGetFunction(_ context: ContextHandle, hmod: ModuleHandle, name: String) "
                + "throws(CUDAError) -> FunctionDescription"),
        "Finds a kernel, with everything that is known about it. CUDA_ERROR_NOT_FOUND without one."),
    DriverCall(
        "cuModuleGetGlobal_v2", .waits,
        [
            .result("dptr", .devicePointer), .result("bytes", .size), .used("hmod", .module), .text("name"),
        ],
        "Finds a variable of a module: its address and its size in bytes."),
    DriverCall(
        "cuModuleEnumerateFunctions", .waits,
        .byHand(
            declaration:
                "func cuModuleEnumerateFunctions(_ context: ContextHandle, hmod: ModuleHandle) "
                + "throws(CUDAError) -> [String]"),
        "The names of a module's kernels."),
    DriverCall(
        "cuLinkComplete", .waits,
        .byHand(
            declaration:
                "func cuLinkComplete(_ context: ContextHandle, inputs: [LinkInput], options: [JITOption], "
                + "log: inout JITLog) throws(CUDAError) -> [UInt8]"),
        "Links inputs into an image that ``cuModuleLoadDataEx`` takes: cuLinkCreate, AddData and Complete in one."),
    DriverCall(
        "cuFuncGetAttribute", .waits,
        [.result("pi", .int32), .value("attrib", .uint32), .used("hfunc", .function)],
        "One attribute of a kernel (a CUfunction_attribute)."),
    DriverCall(
        "cuFuncSetAttribute", .waits,
        [.used("hfunc", .function), .value("attrib", .uint32), .value("value", .int32)],
        "Sets an attribute of a kernel (a CUfunction_attribute)."),
    DriverCall(
        "cuFuncSetCacheConfig", .posts, [.used("hfunc", .function), .value("config", .uint32)],
        "Prefers L1 cache or shared memory for one kernel."),
    DriverCall(
        "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", .waits,
        [
            .result("numBlocks", .int32), .used("hfunc", .function), .value("blockSize", .int32),
            .value("dynamicSMemSize", .size), .value("flags", .uint32),
        ],
        "How many blocks of a kernel one multiprocessor holds."),
    DriverCall(
        "cuOccupancyAvailableDynamicSMemPerBlock", .waits,
        [
            .result("dynamicSmemSize", .size), .used("hfunc", .function), .value("numBlocks", .int32),
            .value("blockSize", .int32),
        ],
        "How many bytes of dynamic shared memory a block may use so that as many fit."),
]

private let launchCalls: [DriverCall] = [
    DriverCall(
        "cuLaunchKernel", .posts,
        .byHand(
            declaration:
                "func cuLaunchKernel(_ context: ContextHandle, f: FunctionHandle, _ shape: LaunchGeometry, "
                + "stream: StreamHandle, parameters: UnsafeRawBufferPointer) throws(CUDAError)"),
        "Enqueues a kernel. `parameters` is the packed parameter block of the kernel's layout."),
    DriverCall(
        "cuLaunchHostFunc", .posts,
        .byHand(
            declaration:
                "func cuLaunchHostFunc(_ context: ContextHandle, stream: StreamHandle, "
                + "function: @escaping @Sendable () -> Void) throws(CUDAError)"),
        "Enqueues a call of a host function; the stream goes on when it has returned."),
]

private let memoryCalls: [DriverCall] = [
    DriverCall(
        "cuMemAlloc_v2", .waits, [.result("dptr", .devicePointer), .value("bytesize", .size)],
        "Allocates device memory."),
    DriverCall(
        "cuMemAllocPitch_v2", .waits,
        [
            .result("dptr", .devicePointer), .result("pPitch", .size), .value("widthInBytes", .size),
            .value("height", .size), .value("elementSizeBytes", .uint32),
        ],
        "Allocates rows with a pitch in bytes that suits the device."),
    DriverCall(
        "cuMemFree_v2", .posts, [.value("dptr", .devicePointer)], "Frees device memory after the work that uses it."),
    DriverCall(
        "cuMemGetInfo_v2", .waits, [.result("free", .size), .result("total", .size)],
        "Free and total bytes of the context's device."),
]

private let copyCalls: [DriverCall] = [
    DriverCall(
        "cuMemcpyHtoDAsync_v2", .posts, .remoteHalfByHand,
        [.value("dstDevice", .devicePointer), .readBlock("srcHost"), .used("hStream", .stream)],
        "Copies host memory to the device. The source has been read when the call returns."),
    DriverCall(
        "cuMemcpyDtoH_v2", .waits,
        .byHand(
            declaration:
                "func cuMemcpyDtoH_v2(_ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, "
                + "srcDevice: CUdeviceptr, stream: StreamHandle) throws(CUDAError)"),
        "Copies device memory to the host, in the order of the stream, and returns when it is there."),
    DriverCall(
        "cuMemcpyDtoHAsync_v2", .posts,
        .byHand(
            declaration:
                "func cuMemcpyDtoHAsync_v2(_ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, "
                + "srcDevice: CUdeviceptr, stream: StreamHandle) throws(CUDAError)"),
        "Enqueues a copy of device memory to the host; the target must live until the stream has done it."),
    DriverCall(
        "cuMemcpyDtoDAsync_v2", .posts,
        [
            .value("dstDevice", .devicePointer), .value("srcDevice", .devicePointer), .value("byteCount", .size),
            .used("hStream", .stream),
        ],
        "Enqueues a copy between device addresses, also of two devices."),
    DriverCall(
        "cuMemcpy3DAsync_v2", .posts,
        .byHand(
            declaration:
                "func cuMemcpy3DAsync_v2(_ context: ContextHandle, target: DeviceBox, source: DeviceBox, "
                + "extent: Extent, stream: StreamHandle) throws(CUDAError)"),
        "Enqueues a copy of a box between device addresses."),
    DriverCall(
        "cuMemcpy3DHtoDAsync", .posts,
        .byHand(
            declaration:
                "func cuMemcpy3DHtoDAsync(_ context: ContextHandle, target: DeviceBox, packed source: RawSpan, "
                + "extent: Extent, stream: StreamHandle) throws(CUDAError)"),
        "Copies a box, packed without gaps in host memory, to the device. The source has been read on return."),
    DriverCall(
        "cuMemcpy3DDtoH", .waits,
        .byHand(
            declaration:
                "func cuMemcpy3DDtoH(_ context: ContextHandle, packed target: UnsafeMutableRawBufferPointer, "
                + "source: DeviceBox, extent: Extent, stream: StreamHandle) throws(CUDAError)"),
        "Copies a box of device memory to the host, packed without gaps, and returns when it is there."),
    DriverCall(
        "cuMemsetD8Async", .posts,
        [
            .value("dstDevice", .devicePointer), .value("uc", .uint8), .value("n", .size), .used("hStream", .stream),
        ],
        "Enqueues setting `n` bytes."),
    DriverCall(
        "cuMemsetD16Async", .posts,
        [
            .value("dstDevice", .devicePointer), .value("us", .uint16), .value("n", .size), .used("hStream", .stream),
        ],
        "Enqueues setting `n` 16-bit values."),
    DriverCall(
        "cuMemsetD32Async", .posts,
        [
            .value("dstDevice", .devicePointer), .value("ui", .uint32), .value("n", .size), .used("hStream", .stream),
        ],
        "Enqueues setting `n` 32-bit values."),
    DriverCall(
        "cuMemsetD2D8Async", .posts,
        [
            .value("dstDevice", .devicePointer), .value("dstPitch", .size), .value("uc", .uint8),
            .value("width", .size), .value("height", .size), .used("hStream", .stream),
        ],
        "Enqueues setting `height` rows of `width` bytes, `dstPitch` bytes apart."),
    DriverCall(
        "cuMemsetD2D16Async", .posts,
        [
            .value("dstDevice", .devicePointer), .value("dstPitch", .size), .value("us", .uint16),
            .value("width", .size), .value("height", .size), .used("hStream", .stream),
        ],
        "Enqueues setting `height` rows of `width` 16-bit values, `dstPitch` bytes apart."),
    DriverCall(
        "cuMemsetD2D32Async", .posts,
        [
            .value("dstDevice", .devicePointer), .value("dstPitch", .size), .value("ui", .uint32),
            .value("width", .size), .value("height", .size), .used("hStream", .stream),
        ],
        "Enqueues setting `height` rows of `width` 32-bit values, `dstPitch` bytes apart."),
]

private let poolCalls: [DriverCall] = [
    DriverCall(
        "cuMemAllocAsync", .waits,
        [.result("dptr", .devicePointer), .value("bytesize", .size), .used("hStream", .stream)],
        "Allocates from the current pool of the stream's device, in the order of the stream."),
    DriverCall(
        "cuMemFreeAsync", .posts, [.value("dptr", .devicePointer), .used("hStream", .stream)],
        "Frees memory in the order of the stream."),
    DriverCall(
        "cuMemAllocFromPoolAsync", .waits,
        [
            .result("dptr", .devicePointer), .value("bytesize", .size), .used("pool", .pool),
            .used("hStream", .stream),
        ],
        "Allocates from a pool, in the order of the stream."),
    DriverCall(
        "cuMemPoolCreate", .waits, inContext: false, .hostByHand,
        [
            .made("pool", .pool), .value("device", .int32), .value("handleTypes", .uint32), .value("maxSize", .size),
        ],
        "Makes a pool of a device's memory, which other processes import if it has handle types; "
            + "`maxSize` in bytes, 0 for no limit of its own."),
    DriverCall(
        "cuMemPoolDestroy", .waits, inContext: false, .hostByHand, [.ended("pool", .pool)],
        "Ends a pool; its memory goes when the last allocation of it is freed."),
    DriverCall(
        "cuMemPoolTrimTo", .waits, inContext: false, [.used("pool", .pool), .value("minBytesToKeep", .size)],
        "Gives back unused memory of a pool."),
    DriverCall(
        "cuMemPoolSetAttribute", .waits, inContext: false, .hostByHand,
        [.used("pool", .pool), .value("attr", .uint32), .value("value", .uint64)],
        "Sets an attribute of a pool (a CUmemPool_attribute); 32-bit attributes use the low half."),
    DriverCall(
        "cuMemPoolGetAttribute", .waits, inContext: false, .hostByHand,
        [.result("value", .uint64), .used("pool", .pool), .value("attr", .uint32)],
        "One attribute of a pool (a CUmemPool_attribute); 32-bit attributes use the low half."),
    DriverCall(
        "cuDeviceGetDefaultMemPool", .waits, inContext: false, [.made("pool", .pool), .value("dev", .int32)],
        "The pool that a device starts with."),
]

private let streamCalls: [DriverCall] = [
    DriverCall(
        "cuStreamCreateWithPriority", .posts,
        [.made("phStream", .stream), .value("flags", .uint32), .value("priority", .int32)], "Makes a stream."),
    DriverCall(
        "cuStreamDestroy_v2", .posts, [.ended("hStream", .stream)], "Ends a stream; its work goes on to its end."),
    DriverCall(
        "cuStreamSynchronize", .waits, .remoteByHand, [.used("hStream", .stream)],
        "Returns when all work of the stream is done."),
    DriverCall(
        "cuStreamQuery", .waits, [.used("hStream", .stream)], "CUDA_ERROR_NOT_READY while the stream has work."),
    DriverCall(
        "cuStreamWaitEvent", .posts,
        [.used("hStream", .stream), .used("hEvent", .event), .value("flags", .uint32)],
        "Makes later work of the stream wait for what the event has recorded."),
]

private let eventCalls: [DriverCall] = [
    DriverCall("cuEventCreate", .posts, [.made("phEvent", .event), .value("flags", .uint32)], "Makes an event."),
    DriverCall("cuEventDestroy_v2", .posts, [.ended("hEvent", .event)], "Ends an event."),
    DriverCall(
        "cuEventRecordWithFlags", .posts,
        [.used("hEvent", .event), .used("hStream", .stream), .value("flags", .uint32)],
        "Records the work that the stream has so far."),
    DriverCall(
        "cuEventQuery", .waits, [.used("hEvent", .event)],
        "CUDA_ERROR_NOT_READY while the work that the event recorded goes on."),
    DriverCall(
        "cuEventSynchronize", .waits, .remoteByHand, [.used("hEvent", .event)],
        "Returns when the work that the event recorded is done."),
    DriverCall(
        "cuEventElapsedTime_v2", .waits,
        [.result("pMilliseconds", .float), .used("hStart", .event), .used("hEnd", .event)],
        "Milliseconds between two events."),
]

private let graphCalls: [DriverCall] = [
    DriverCall(
        "cuGraphInstantiate", .waits,
        .byHand(
            declaration:
                "func cuGraphInstantiate(_ context: ContextHandle, plan: GraphPlan) throws(CUDAError) -> GraphHandle"),
        "Makes an executable graph of kernels, copies and sets of device memory: cuGraphCreate and all that follows."),
    DriverCall(
        "cuGraphExecNodeSetParams", .posts,
        .byHand(
            declaration:
                "func cuGraphExecNodeSetParams(_ context: ContextHandle, graph: GraphHandle, node: Int, "
                + "work: DeviceWork) throws(CUDAError)"),
        "Replaces what a node does in later launches; `.empty` switches it off, work of its own kind on again."),
    DriverCall(
        "cuGraphLaunch", .posts, .hostByHand, [.used("hGraphExec", .graph), .used("hStream", .stream)],
        "Enqueues all nodes of a graph, after its earlier launches."),
    DriverCall(
        "cuGraphExecDestroy", .posts, .hostByHand, [.ended("hGraphExec", .graph)],
        "Ends an executable graph; what was launched goes on to its end."),
]

private let clusterCalls: [DriverCall] = ["cuOccupancyMaxActiveClusters", "cuOccupancyMaxPotentialClusterSize"].map {
    name in
    DriverCall(
        name, .waits,
        .byHand(
            declaration:
                "func \(name)(_ context: ContextHandle, hfunc: FunctionHandle, _ shape: LaunchGeometry) "
                + "throws(CUDAError) -> Int32"),
        name.hasSuffix("Clusters")
            ? "How many clusters of a launch the device holds at the same time."
            : "How many blocks a cluster of a launch may have; what the launch says of clusters is ignored.")
}

private let conditionCalls: [DriverCall] = [
    DriverCall(
        "cuGraphCreate", .posts, .hostByHand, [.made("phGraph", .graphDraft), .value("flags", .uint32)],
        "Begins a graph, for handles of conditions that its kernels get as parameters before it is instantiated."),
    DriverCall(
        "cuGraphDestroy", .posts, .hostByHand, [.ended("hGraph", .graphDraft)],
        "Ends a graph that was begun; what was instantiated of it stays, with its conditions."),
    DriverCall(
        "cuGraphConditionalHandleCreate", .waits, .hostByHand,
        [
            .result("pHandle_out", .uint64), .used("hGraph", .graphDraft), .value("defaultLaunchValue", .uint32),
            .value("flags", .uint32),
        ],
        "Makes a condition of the context for a graph that was begun; with flag 1 each launch assigns the default."),
    DriverCall(
        "cuGraphExecUpdate_v2", .waits,
        .byHand(
            declaration:
                "func cuGraphExecUpdate_v2(_ context: ContextHandle, graph: GraphHandle, plan: GraphPlan) "
                + "throws(CUDAError)"),
        "Replaces what the nodes of a graph with conditions do, and these, by those of a plan of the same shape."),
]

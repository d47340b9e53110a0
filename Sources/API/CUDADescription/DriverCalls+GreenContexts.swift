// SPDX-License-Identifier: Apache-2.0

/// Multiprocessors of a device, shared out, and contexts that use only their share.
///
/// A resource travels as its number in the driver that told it, with what the application may see of it.
let greenContextCalls: [DriverCall] = [
    DriverCall(
        "cuDeviceGetDevResource", .waits, inContext: false,
        .byHand(
            declaration: "func cuDeviceGetDevResource(dev: Int32) throws(CUDAError) -> MultiprocessorResource"),
        "All multiprocessors of a device."),
    DriverCall(
        "cuGreenCtxGetDevResource", .waits, inContext: false,
        .byHand(
            declaration: "func cuGreenCtxGetDevResource(hCtx: GreenContextHandle) throws(CUDAError) "
                + "-> MultiprocessorResource"),
        "The multiprocessors of a green context."),
    DriverCall(
        "cuDevSmResourceSplitByCount", .waits, inContext: false,
        .byHand(
            declaration: "func cuDevSmResourceSplitByCount(input: ResourceNumber, groups: UInt32, flags: UInt32, "
                + "minCount: UInt32) throws(CUDAError) -> MultiprocessorSplit"),
        "Splits multiprocessors into at most `groups` equal groups of at least `minCount`."),
    DriverCall(
        "cuDevSmResourceSplit", .waits, inContext: false,
        .byHand(
            declaration: "func cuDevSmResourceSplit(input: ResourceNumber, groups: [MultiprocessorGroup], "
                + "makesResult: Bool, flags: UInt32) throws(CUDAError) -> MultiprocessorSplit"),
        "Splits multiprocessors into groups of given kinds, and tells the sizes of those that left it open."),
    DriverCall(
        "cuDevResourceGenerateDesc", .waits, inContext: false,
        .byHand(
            declaration: "func cuDevResourceGenerateDesc(resources: [ResourceNumber]) throws(CUDAError) "
                + "-> ResourceNumber"),
        "Puts resources together for ``cuGreenCtxCreate``."),
    DriverCall(
        "cuGreenCtxCreate", .waits, inContext: false, .hostByHand,
        [.made("phCtx", .greenContext), .value("desc", .uint64), .value("dev", .int32), .value("flags", .uint32)],
        "Makes a green context of the device's primary context; `desc` is a ``ResourceNumber``."),
    DriverCall(
        "cuGreenCtxDestroy", .waits, inContext: false, [.ended("hCtx", .greenContext)],
        "Ends a green context; its streams do no more work."),
    DriverCall(
        "cuGreenCtxStreamCreate", .waits,
        [
            .made("phStream", .stream), .used("greenCtx", .greenContext), .value("flags", .uint32),
            .value("priority", .int32),
        ],
        "Makes a stream whose kernels run on the multiprocessors of a green context."),
    DriverCall(
        "cuGreenCtxRecordEvent", .waits, [.used("hCtx", .greenContext), .used("hEvent", .event)],
        "Records the work that all streams of a green context have so far."),
    DriverCall(
        "cuGreenCtxWaitEvent", .waits, [.used("hCtx", .greenContext), .used("hEvent", .event)],
        "Makes later work of a green context wait for what the event has recorded."),
    DriverCall(
        "cuCtxRecordEvent", .waits, .hostByHand, [.used("hEvent", .event)],
        "Records the work that all streams of the context and of its green contexts have so far."),
    DriverCall(
        "cuCtxWaitEvent", .waits, .hostByHand, [.used("hEvent", .event)],
        "Makes later work of the context and of its green contexts wait for what the event has recorded."),
]

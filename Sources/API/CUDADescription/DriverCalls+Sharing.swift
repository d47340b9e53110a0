// SPDX-License-Identifier: Apache-2.0

/// Values in memory that streams write and wait for.
let streamMemoryCalls: [DriverCall] = [
    DriverCall(
        "cuStreamBatchMemOp_v2", .posts,
        .byHand(
            declaration:
                "func cuStreamBatchMemOp_v2(_ context: ContextHandle, stream: StreamHandle, "
                + "operations: [StreamMemoryOperation]) throws(CUDAError)"),
        "Enqueues writes of values and waits for them, in this order."),
    DriverCall(
        "cuStreamSetAttribute", .posts, .hostByHand,
        [.used("hStream", .stream), .value("attr", .uint32), .readBlock("value")],
        "Sets an attribute of a stream (a CUstreamAttrID), given as the bytes of its CUstreamAttrValue."),
    DriverCall(
        "cuFlushGPUDirectRDMAWrites", .waits, [.value("target", .uint32), .value("scope", .uint32)],
        "Makes what other devices have written to the context's memory visible."),
]

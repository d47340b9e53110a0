// SPDX-License-Identifier: Apache-2.0

/// Tensor maps: values that drivers make for kernels, of nothing but what they are told.
let tensorMapCalls: [DriverCall] = [
    DriverCall(
        "cuTensorMapEncodeTiled", .waits,
        .byHand(
            declaration:
                "func cuTensorMapEncodeTiled(_ context: ContextHandle, _ description: TensorMapDescription) "
                + "throws(CUDAError) -> TensorMap"),
        "Makes a tensor map; of the forms Tiled, Im2col and Im2colWide, what the description says of its parts is "
            + "the one."),
    DriverCall(
        "cuTensorMapReplaceAddress", .waits,
        .byHand(
            declaration:
                "func cuTensorMapReplaceAddress(_ context: ContextHandle, tensorMap: TensorMap, "
                + "globalAddress: CUdeviceptr) throws(CUDAError) -> TensorMap"),
        "The same tensor map of memory at another address."),
    DriverCall(
        "cuTensorMapSetAllocationClass", .waits,
        .byHand(
            declaration:
                "func cuTensorMapSetAllocationClass(_ context: ContextHandle, tensorMap: TensorMap, "
                + "allocClass: UInt32) throws(CUDAError) -> (tensorMap: TensorMap, outAllocClass: UInt32)"),
        "The same tensor map for another class of allocations (a CUtensorMapAllocClass), and the class that it got."),
]

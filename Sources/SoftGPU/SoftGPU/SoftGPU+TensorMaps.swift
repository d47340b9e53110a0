// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver

/// Tensor maps are for GPUs of compute capability 9.0; software GPUs say that they have 7.5
/// (CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED is 0).
extension SoftGPU {
    package func cuTensorMapEncodeTiled(
        _ context: ContextHandle, _ description: TensorMapDescription
    ) throws(CUDAError) -> TensorMap {
        _ = try self.context(context)
        throw .notSupported
    }

    package func cuTensorMapReplaceAddress(
        _ context: ContextHandle, tensorMap: TensorMap, globalAddress: CUdeviceptr
    ) throws(CUDAError) -> TensorMap {
        _ = try self.context(context)
        throw .notSupported
    }

    package func cuTensorMapSetAllocationClass(
        _ context: ContextHandle, tensorMap: TensorMap, allocClass: UInt32
    ) throws(CUDAError) -> (tensorMap: TensorMap, outAllocClass: UInt32) {
        _ = try self.context(context)
        throw .notSupported
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

extension FakeDriver {
    /// A driver demands that tensors lie at multiples of 16.
    func cuTensorMapEncodeTiled(
        _ context: ContextHandle, _ description: TensorMapDescription
    ) throws(CUDAError) -> TensorMap {
        note("tensor map at \(String(description.address, radix: 16))")
        guard description.address % 16 == 0 else { throw .invalidValue }
        var map = TensorMap(words: SIMD16())
        map.words[0] = description.address
        map.words[1] = description.sizes[1]
        return map
    }

    func cuTensorMapReplaceAddress(
        _ context: ContextHandle, tensorMap: TensorMap, globalAddress: CUdeviceptr
    ) throws(CUDAError) -> TensorMap {
        note("tensor map to \(String(globalAddress, radix: 16))")
        var map = tensorMap
        map.words[0] = globalAddress
        return map
    }

    func cuTensorMapSetAllocationClass(
        _ context: ContextHandle, tensorMap: TensorMap, allocClass: UInt32
    ) throws(CUDAError) -> (tensorMap: TensorMap, outAllocClass: UInt32) {
        var map = tensorMap
        map.words[1] = UInt64(allocClass)
        return (map, allocClass)
    }
}

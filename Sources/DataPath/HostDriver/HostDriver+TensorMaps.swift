// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver

// Tensor maps.

extension HostDriver {
    package func cuTensorMapEncodeTiled(
        _ context: ContextHandle, _ description: TensorMapDescription
    ) throws(CUDAError) -> TensorMap {
        try makeCurrent(context)
        // The arrays of the C functions: SIMD values lie in memory as such.
        var (sizes, strides, steps) = (description.sizes, description.strides, description.elementStrides)
        let functions = tensorMaps
        return try withTensorMap(nil) { map throws(CUDAError) in
            let code = withUnsafeBytes(of: &sizes) { sizes in
                withUnsafeBytes(of: &strides) { strides in
                    withUnsafeBytes(of: &steps) { steps in
                        functions.encode(
                            description, map, sizes: sizes.assumingMemoryBound(to: UInt64.self).baseAddress,
                            // A tensor of one dimension has none.
                            strides: description.rank > 1
                                ? strides.assumingMemoryBound(to: UInt64.self).baseAddress : nil,
                            steps: steps.assumingMemoryBound(to: UInt32.self).baseAddress)
                    }
                }
            }
            try check(code)
        }
    }

    package func cuTensorMapReplaceAddress(
        _ context: ContextHandle, tensorMap: TensorMap, globalAddress: CUdeviceptr
    ) throws(CUDAError) -> TensorMap {
        guard let function = tensorMaps.cuTensorMapReplaceAddress else { throw .notSupported }
        try makeCurrent(context)
        return try withTensorMap(tensorMap) { map throws(CUDAError) in try check(function(map, globalAddress)) }
    }

    package func cuTensorMapSetAllocationClass(
        _ context: ContextHandle, tensorMap: TensorMap, allocClass: UInt32
    ) throws(CUDAError) -> (tensorMap: TensorMap, outAllocClass: UInt32) {
        guard let function = tensorMaps.cuTensorMapSetAllocationClass else { throw .notSupported }
        try makeCurrent(context)
        var outAllocClass: UInt32 = 0
        let made = try withTensorMap(tensorMap) { map throws(CUDAError) in
            try check(function(map, allocClass, &outAllocClass))
        }
        return (made, outAllocClass)
    }

    /// Calls with a tensor map in memory that is aligned as drivers demand it, and returns what it is then.
    private func withTensorMap(
        _ initial: TensorMap?, _ body: (UnsafeMutableRawPointer?) throws(CUDAError) -> Void
    ) throws(CUDAError) -> TensorMap {
        let count = TensorMap.byteCount
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: count)
        defer { bytes.deallocate() }
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        initial?.write(to: bytes)
        try body(bytes.baseAddress)
        return TensorMap(bytes: UnsafeRawBufferPointer(bytes))
    }
}

/// The functions of tensor maps; nil where a driver is older than they are.
struct TensorMapFunctions: Sendable {
    typealias Numbers32 = UnsafePointer<UInt32>
    typealias Numbers64 = UnsafePointer<UInt64>
    typealias Corner = UnsafePointer<Int32>
    typealias Map = UnsafeMutableRawPointer

    let cuTensorMapEncodeTiled:
        (
            @convention(c) (
                Map?, UInt32, UInt32, CUdeviceptr, Numbers64?, Numbers64?, Numbers32?, Numbers32?, UInt32, UInt32,
                UInt32, UInt32
            ) -> CUresult
        )?
    let cuTensorMapEncodeIm2col:
        (
            @convention(c) (
                Map?, UInt32, UInt32, CUdeviceptr, Numbers64?, Numbers64?, Corner?, Corner?, UInt32, UInt32,
                Numbers32?, UInt32, UInt32, UInt32, UInt32
            ) -> CUresult
        )?
    let cuTensorMapEncodeIm2colWide:
        (
            @convention(c) (
                Map?, UInt32, UInt32, CUdeviceptr, Numbers64?, Numbers64?, Int32, Int32, UInt32, UInt32, Numbers32?,
                UInt32, UInt32, UInt32, UInt32, UInt32
            ) -> CUresult
        )?
    let cuTensorMapReplaceAddress: (@convention(c) (Map?, CUdeviceptr) -> CUresult)?
    let cuTensorMapSetAllocationClass: (@convention(c) (Map?, UInt32, UnsafeMutablePointer<UInt32>?) -> CUresult)?

    init(_ library: borrowing DriverLibrary) {
        cuTensorMapEncodeTiled = library.function("cuTensorMapEncodeTiled")
        cuTensorMapEncodeIm2col = library.function("cuTensorMapEncodeIm2col")
        cuTensorMapEncodeIm2colWide = library.function("cuTensorMapEncodeIm2colWide")
        cuTensorMapReplaceAddress = library.function("cuTensorMapReplaceAddress")
        cuTensorMapSetAllocationClass = library.function("cuTensorMapSetAllocationClass")
    }

    /// Calls the function that makes maps of such parts.
    func encode(
        _ tensor: TensorMapDescription, _ map: Map?, sizes: Numbers64?, strides: Numbers64?, steps: Numbers32?
    ) -> CUresult {
        let rank = UInt32(tensor.rank)
        switch tensor.part {
        case .box(let box):
            guard let function = cuTensorMapEncodeTiled else { return CUDA_ERROR_NOT_SUPPORTED }
            return withUnsafeBytes(of: box) { box in
                function(
                    map, tensor.dataType, rank, tensor.address, sizes, strides,
                    box.assumingMemoryBound(to: UInt32.self).baseAddress, steps, tensor.interleave, tensor.swizzle,
                    tensor.l2Promotion, tensor.oobFill)
            }
        case .pixels(let lower, let upper, let channelsPerPixel, let pixelsPerColumn):
            guard let function = cuTensorMapEncodeIm2col else { return CUDA_ERROR_NOT_SUPPORTED }
            return withUnsafeBytes(of: lower) { lower in
                withUnsafeBytes(of: upper) { upper in
                    function(
                        map, tensor.dataType, rank, tensor.address, sizes, strides,
                        lower.assumingMemoryBound(to: Int32.self).baseAddress,
                        upper.assumingMemoryBound(to: Int32.self).baseAddress, channelsPerPixel, pixelsPerColumn,
                        steps, tensor.interleave, tensor.swizzle, tensor.l2Promotion, tensor.oobFill)
                }
            }
        case .row(let lower, let upper, let channelsPerPixel, let pixelsPerColumn, let mode):
            guard let function = cuTensorMapEncodeIm2colWide else { return CUDA_ERROR_NOT_SUPPORTED }
            return function(
                map, tensor.dataType, rank, tensor.address, sizes, strides, lower, upper, channelsPerPixel,
                pixelsPerColumn, steps, tensor.interleave, mode, tensor.swizzle, tensor.l2Promotion, tensor.oobFill)
        }
    }
}

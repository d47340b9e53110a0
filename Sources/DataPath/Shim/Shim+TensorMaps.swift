// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Tensor maps, which the server's driver makes: only that knows what its GPUs understand.
///
/// What can be read and written is checked here. Which values go together differs from one generation of GPUs to the
/// next, so the driver says it, with its own codes.
extension Shim {
    func cuTensorMapEncodeTiled(
        _ tensorMap: UnsafeMutablePointer<CUtensorMap>?, _ tensorDataType: CUtensorMapDataType, _ tensorRank: UInt32,
        _ globalAddress: UnsafeMutableRawPointer?, _ globalDim: UnsafePointer<UInt64>?,
        _ globalStrides: UnsafePointer<UInt64>?, _ boxDim: UnsafePointer<UInt32>?,
        _ elementStrides: UnsafePointer<UInt32>?, _ interleave: CUtensorMapInterleave, _ swizzle: CUtensorMapSwizzle,
        _ l2Promotion: CUtensorMapL2promotion, _ oobFill: CUtensorMapFloatOOBfill
    ) throws(CUDAError) {
        guard let boxDim, 1...TensorMapDescription.rankMax ~= Int(tensorRank) else { throw .invalidValue }
        var description = try self.description(
            .box(numbers(boxDim, Int(tensorRank))), tensorRank, globalAddress, globalDim, globalStrides,
            elementStrides)
        description.set(tensorDataType, interleave, swizzle, l2Promotion, oobFill)
        try encode(description, to: tensorMap)
    }

    func cuTensorMapEncodeIm2col(
        _ tensorMap: UnsafeMutablePointer<CUtensorMap>?, _ tensorDataType: CUtensorMapDataType, _ tensorRank: UInt32,
        _ globalAddress: UnsafeMutableRawPointer?, _ globalDim: UnsafePointer<UInt64>?,
        _ globalStrides: UnsafePointer<UInt64>?, _ pixelBoxLowerCorner: UnsafePointer<Int32>?,
        _ pixelBoxUpperCorner: UnsafePointer<Int32>?, _ channelsPerPixel: UInt32, _ pixelsPerColumn: UInt32,
        _ elementStrides: UnsafePointer<UInt32>?, _ interleave: CUtensorMapInterleave, _ swizzle: CUtensorMapSwizzle,
        _ l2Promotion: CUtensorMapL2promotion, _ oobFill: CUtensorMapFloatOOBfill
    ) throws(CUDAError) {
        guard let pixelBoxLowerCorner, let pixelBoxUpperCorner,
            3...TensorMapDescription.rankMax ~= Int(tensorRank)
        else { throw .invalidValue }
        let corners = Int(tensorRank) - 2
        var description = try self.description(
            .pixels(
                lower: numbers(pixelBoxLowerCorner, corners), upper: numbers(pixelBoxUpperCorner, corners),
                channelsPerPixel: channelsPerPixel, pixelsPerColumn: pixelsPerColumn),
            tensorRank, globalAddress, globalDim, globalStrides, elementStrides)
        description.set(tensorDataType, interleave, swizzle, l2Promotion, oobFill)
        try encode(description, to: tensorMap)
    }

    func cuTensorMapEncodeIm2colWide(
        _ tensorMap: UnsafeMutablePointer<CUtensorMap>?, _ tensorDataType: CUtensorMapDataType, _ tensorRank: UInt32,
        _ globalAddress: UnsafeMutableRawPointer?, _ globalDim: UnsafePointer<UInt64>?,
        _ globalStrides: UnsafePointer<UInt64>?, _ pixelBoxLowerCornerWidth: Int32,
        _ pixelBoxUpperCornerWidth: Int32, _ channelsPerPixel: UInt32, _ pixelsPerColumn: UInt32,
        _ elementStrides: UnsafePointer<UInt32>?, _ interleave: CUtensorMapInterleave,
        _ mode: CUtensorMapIm2ColWideMode, _ swizzle: CUtensorMapSwizzle, _ l2Promotion: CUtensorMapL2promotion,
        _ oobFill: CUtensorMapFloatOOBfill
    ) throws(CUDAError) {
        var description = try self.description(
            .row(
                lower: pixelBoxLowerCornerWidth, upper: pixelBoxUpperCornerWidth, channelsPerPixel: channelsPerPixel,
                pixelsPerColumn: pixelsPerColumn, mode: mode.rawValue),
            tensorRank, globalAddress, globalDim, globalStrides, elementStrides)
        description.set(tensorDataType, interleave, swizzle, l2Promotion, oobFill)
        try encode(description, to: tensorMap)
    }

    func cuTensorMapReplaceAddress(
        _ tensorMap: UnsafeMutablePointer<CUtensorMap>?, _ globalAddress: UnsafeMutableRawPointer?
    ) throws(CUDAError) {
        let bytes = try bytes(of: tensorMap)
        let map = TensorMap(bytes: UnsafeRawBufferPointer(bytes))
        let address = try tensorAddress(globalAddress)
        let made = try tensorMapAnswer(.replaceAddress(map, address)) { context throws(CUDAError) in
            TensorMapCache.Answer(
                map: try driver.cuTensorMapReplaceAddress(context, tensorMap: map, globalAddress: address))
        }
        made.map.write(to: bytes)
    }

    func cuTensorMapSetAllocationClass(
        _ tensorMap: UnsafeMutablePointer<CUtensorMap>?, _ allocClass: CUtensorMapAllocClass,
        _ outAllocClass: UnsafeMutablePointer<CUtensorMapAllocClass>?
    ) throws(CUDAError) {
        // Also where the call fails.
        outAllocClass?.pointee = CU_TENSOR_MAP_ALLOC_CLASS_SMALL
        let bytes = try bytes(of: tensorMap)
        let map = TensorMap(bytes: UnsafeRawBufferPointer(bytes))
        let made = try tensorMapAnswer(.setAllocationClass(map, allocClass.rawValue)) { context throws(CUDAError) in
            let made = try driver.cuTensorMapSetAllocationClass(
                context, tensorMap: map, allocClass: allocClass.rawValue)
            return TensorMapCache.Answer(map: made.tensorMap, allocClass: made.outAllocClass)
        }
        made.map.write(to: bytes)
        outAllocClass?.pointee = CUtensorMapAllocClass(made.allocClass)
    }

    // MARK: What all of them do

    private func encode(
        _ description: TensorMapDescription, to tensorMap: UnsafeMutablePointer<CUtensorMap>?
    ) throws(CUDAError) {
        let bytes = try bytes(of: tensorMap)
        let made = try tensorMapAnswer(.encode(description)) { context throws(CUDAError) in
            TensorMapCache.Answer(map: try driver.cuTensorMapEncodeTiled(context, description))
        }
        made.map.write(to: bytes)
    }

    /// The answer to a request on the current context's device: known, or the driver's.
    private func tensorMapAnswer(
        _ request: TensorMapRequest, _ ask: (ContextHandle) throws(CUDAError) -> TensorMapCache.Answer
    ) throws(CUDAError) -> TensorMapCache.Answer {
        let active = try activeContext()
        let key = TensorMapCache.Key(device: active.context.device.ordinal, request: request)
        if let known = tensorMaps.withLock({ $0.answer(to: key) }) { return known }
        let answer = try ask(active.handle)
        tensorMaps.withLock { $0.insert(answer, for: key) }
        return answer
    }

    private func description(
        _ part: TensorMapDescription.Part, _ rank: UInt32, _ address: UnsafeMutableRawPointer?,
        _ sizes: UnsafePointer<UInt64>?, _ strides: UnsafePointer<UInt64>?, _ elementStrides: UnsafePointer<UInt32>?
    ) throws(CUDAError) -> TensorMapDescription {
        guard let sizes, let elementStrides, part.rankMin...TensorMapDescription.rankMax ~= Int(rank),
            strides != nil || rank == 1
        else { throw .invalidValue }
        var description = TensorMapDescription(part: part)
        description.rank = Int(rank)
        description.address = try tensorAddress(address)
        description.sizes = numbers(sizes, Int(rank))
        if let strides { description.strides = numbers(strides, Int(rank) - 1) }
        description.elementStrides = numbers(elementStrides, Int(rank))
        return description
    }

    private func numbers<Numbers: SIMD>(
        _ numbers: UnsafePointer<Numbers.Scalar>, _ count: Int
    ) -> Numbers where Numbers.Scalar: FixedWidthInteger {
        var values = Numbers()
        for index in 0..<count { values[index] = numbers[index] }
        return values
    }

    /// The application's 128 bytes, which lie at a multiple of 64.
    private func bytes(
        of tensorMap: UnsafeMutablePointer<CUtensorMap>?
    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer {
        guard let tensorMap, UInt(bitPattern: tensorMap) % 64 == 0 else { throw .invalidValue }
        return UnsafeMutableRawBufferPointer(start: tensorMap, count: TensorMap.byteCount)
    }

    /// Where the device finds a tensor: in pinned memory of the host, at an address of its own.
    private func tensorAddress(_ pointer: UnsafeMutableRawPointer?) throws(CUDAError) -> CUdeviceptr {
        let address = CUdeviceptr(UInt(bitPattern: pointer))
        guard memory.reservesAddresses, memory.hasHostMemory, memory.mayBeHostMemory(address),
            let allocation = memory.find(address), allocation.kind == .host
        else { return address }
        return try shareHostMemory(allocation).deviceAddress(address)
    }
}

extension TensorMapDescription {
    fileprivate mutating func set(
        _ dataType: CUtensorMapDataType, _ interleave: CUtensorMapInterleave, _ swizzle: CUtensorMapSwizzle,
        _ l2Promotion: CUtensorMapL2promotion, _ oobFill: CUtensorMapFloatOOBfill
    ) {
        self.dataType = dataType.rawValue
        self.interleave = interleave.rawValue
        self.swizzle = swizzle.rawValue
        self.l2Promotion = l2Promotion.rawValue
        self.oobFill = oobFill.rawValue
    }
}

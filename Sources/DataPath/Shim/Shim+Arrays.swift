// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Arrays and mipmapped arrays.
extension Shim {
    func cuArrayCreate_v2(
        _ pHandle: UnsafeMutablePointer<OpaquePointer?>?, _ pAllocateArray: UnsafePointer<CUDA_ARRAY_DESCRIPTOR>?
    ) throws(CUDAError) {
        guard let description = pAllocateArray?.pointee else { throw .invalidValue }
        try makeArray(
            pHandle,
            ArrayShape(
                width: description.Width, height: description.Height, depth: 0, format: description.Format.rawValue,
                channels: description.NumChannels, flags: 0))
    }

    func cuArray3DCreate_v2(
        _ pHandle: UnsafeMutablePointer<OpaquePointer?>?, _ pAllocateArray: UnsafePointer<CUDA_ARRAY3D_DESCRIPTOR>?
    ) throws(CUDAError) {
        guard let description = pAllocateArray?.pointee else { throw .invalidValue }
        try makeArray(pHandle, ArrayShape(description))
    }

    private func makeArray(
        _ pHandle: UnsafeMutablePointer<OpaquePointer?>?, _ shape: ArrayShape
    ) throws(CUDAError) {
        let active = try activeContext()
        guard pHandle != nil else { throw .invalidValue }
        try shape.check(on: active.context.device)
        let handle = try driver.cuArray3DCreate_v2(
            active.handle, width: shape.width, height: shape.height, depth: shape.depth, format: shape.format,
            numChannels: shape.channels, flags: shape.flags)
        let array = try arrays.insert { bits in
            DeviceArray(bits: bits, handle: handle, context: active.context, shape: shape, isLevel: false)
        }
        try write(handle: array.bits, to: pHandle)
    }

    /// A level of a mipmapped array does not end on its own.
    func cuArrayDestroy(_ hArray: OpaquePointer?) throws(CUDAError) {
        _ = try activeContext()
        let array = try arrays.object(hArray)
        guard !array.isLevel, arrays.remove(array.bits) != nil else { throw .invalidHandle }
        try driver.cuArrayDestroy(try array.context.handle, hArray: array.handle)
    }

    func cuArrayGetDescriptor_v2(
        _ pArrayDescriptor: UnsafeMutablePointer<CUDA_ARRAY_DESCRIPTOR>?, _ hArray: OpaquePointer?
    ) throws(CUDAError) {
        let shape = try arrays.object(hArray).shape
        try write(
            CUDA_ARRAY_DESCRIPTOR(
                Width: shape.width, Height: shape.height, Format: CUarray_format(shape.format),
                NumChannels: shape.channels), to: pArrayDescriptor)
    }

    func cuArray3DGetDescriptor_v2(
        _ pArrayDescriptor: UnsafeMutablePointer<CUDA_ARRAY3D_DESCRIPTOR>?, _ hArray: OpaquePointer?
    ) throws(CUDAError) {
        let shape = try arrays.object(hArray).shape
        try write(
            CUDA_ARRAY3D_DESCRIPTOR(
                Width: shape.width, Height: shape.height, Depth: shape.depth, Format: CUarray_format(shape.format),
                NumChannels: shape.channels, Flags: shape.flags), to: pArrayDescriptor)
    }

    // Planes are of planar formats, the others of arrays without memory of their own; there are neither.

    func cuArrayGetPlane(
        _ pPlaneArray: UnsafeMutablePointer<OpaquePointer?>?, _ hArray: OpaquePointer?, _ planeIdx: UInt32
    ) throws(CUDAError) {
        _ = try arrays.object(hArray)
        throw .invalidValue
    }

    func cuArrayGetSparseProperties(
        _ sparseProperties: UnsafeMutablePointer<CUDA_ARRAY_SPARSE_PROPERTIES>?, _ array: OpaquePointer?
    ) throws(CUDAError) {
        _ = try arrays.object(array)
        throw .invalidValue
    }

    func cuArrayGetMemoryRequirements(
        _ memoryRequirements: UnsafeMutablePointer<CUDA_ARRAY_MEMORY_REQUIREMENTS>?, _ array: OpaquePointer?,
        _ device: CUdevice
    ) throws(CUDAError) {
        _ = try self.device(device)
        _ = try arrays.object(array)
        throw .invalidValue
    }

    // MARK: Mipmapped arrays

    func cuMipmappedArrayCreate(
        _ pHandle: UnsafeMutablePointer<OpaquePointer?>?,
        _ pMipmappedArrayDesc: UnsafePointer<CUDA_ARRAY3D_DESCRIPTOR>?, _ numMipmapLevels: UInt32
    ) throws(CUDAError) {
        let active = try activeContext()
        guard pHandle != nil, let description = pMipmappedArrayDesc?.pointee else { throw .invalidValue }
        let shape = ArrayShape(description)
        try shape.check(on: active.context.device)
        // CUDA cuts the number to what the size allows.
        let levels = min(Int(numMipmapLevels), shape.levelsMax)
        guard levels > 0 else { throw .invalidValue }
        let handle = try driver.cuMipmappedArrayCreate(
            active.handle, width: shape.width, height: shape.height, depth: shape.depth, format: shape.format,
            numChannels: shape.channels, flags: shape.flags, numMipmapLevels: UInt32(levels))
        let array = try mipmappedArrays.insert { bits in
            MipmappedArray(bits: bits, handle: handle, context: active.context, shape: shape, levelCount: levels)
        }
        try write(handle: array.bits, to: pHandle)
    }

    func cuMipmappedArrayDestroy(_ hMipmappedArray: OpaquePointer?) throws(CUDAError) {
        _ = try activeContext()
        guard let array = mipmappedArrays.remove(bits(hMipmappedArray)) else { throw .invalidHandle }
        for level in array.levels.withLock({ $0.values }) { arrays.remove(level.bits) }
        try driver.cuMipmappedArrayDestroy(try array.context.handle, hMipmappedArray: array.handle)
    }

    func cuMipmappedArrayGetLevel(
        _ pLevelArray: UnsafeMutablePointer<OpaquePointer?>?, _ hMipmappedArray: OpaquePointer?, _ level: UInt32
    ) throws(CUDAError) {
        let array = try mipmappedArrays.object(hMipmappedArray)
        guard pLevelArray != nil, level < array.levelCount else { throw .invalidValue }
        let number = Int(level)
        if let known = array.levels.withLock({ $0[number] }) { return try write(handle: known.bits, to: pLevelArray) }
        let handle = try driver.cuMipmappedArrayGetLevel(
            try array.context.handle, hMipmappedArray: array.handle, level: level)
        let made = try arrays.insert { bits in
            DeviceArray(
                bits: bits, handle: handle, context: array.context, shape: array.shape.level(number), isLevel: true)
        }
        let kept = array.levels.withLock { levels in
            if let earlier = levels[number] { return earlier }
            levels[number] = made
            return made
        }
        if kept !== made { arrays.remove(made.bits) }
        try write(handle: kept.bits, to: pLevelArray)
    }

    func cuMipmappedArrayGetSparseProperties(
        _ sparseProperties: UnsafeMutablePointer<CUDA_ARRAY_SPARSE_PROPERTIES>?, _ mipmap: OpaquePointer?
    ) throws(CUDAError) {
        _ = try mipmappedArrays.object(mipmap)
        throw .invalidValue
    }

    func cuMipmappedArrayGetMemoryRequirements(
        _ memoryRequirements: UnsafeMutablePointer<CUDA_ARRAY_MEMORY_REQUIREMENTS>?, _ mipmap: OpaquePointer?,
        _ device: CUdevice
    ) throws(CUDAError) {
        _ = try self.device(device)
        _ = try mipmappedArrays.object(mipmap)
        throw .invalidValue
    }
}

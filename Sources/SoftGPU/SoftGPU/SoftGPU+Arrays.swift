// SPDX-License-Identifier: Apache-2.0
package import Driver

/// Arrays and mipmapped arrays.
extension SoftGPU {
    package func cuArray3DCreate_v2(
        _ context: ContextHandle, width: Int, height: Int, depth: Int, format: UInt32, numChannels: UInt32,
        flags: UInt32
    ) throws(CUDAError) -> ArrayHandle {
        let context = try self.context(context)
        let shape = ArrayShape(
            width: width, height: height, depth: depth, format: format, channels: numChannels, flags: flags)
        let extent = try Self.extent(of: shape)
        guard let byteCount = extent.byteCount, byteCount > 0 else { throw .invalidValue }
        let allocation = try context.device.allocate(byteCount)
        let array = try arrays.insert { bits in
            ArrayMemory(
                bits: bits, context: context.bits, shape: shape, extent: extent, address: allocation.address,
                allocation: allocation)
        }
        return ArrayHandle(bits: array.bits)
    }

    private static func extent(of shape: ArrayShape) throws(CUDAError) -> Extent {
        guard shape.width > 0, let extent = shape.extent else { throw .invalidValue }
        return extent
    }

    package func cuArrayDestroy(_ context: ContextHandle, hArray: ArrayHandle) throws(CUDAError) {
        let context = try self.context(context)
        let array = try self.array(hArray)
        guard array.parent == 0, arrays.remove(array.bits) != nil else { throw .invalidHandle }
        // Work that was enqueued before may use it, by a texture or surface too.
        context.waitForAll()
        if array.context != context.bits { contexts[array.context]?.waitForAll() }
        try context.checkHealth()
    }

    package func cuMipmappedArrayCreate(
        _ context: ContextHandle, width: Int, height: Int, depth: Int, format: UInt32, numChannels: UInt32,
        flags: UInt32, numMipmapLevels: UInt32
    ) throws(CUDAError) -> MipmappedArrayHandle {
        let context = try self.context(context)
        let shape = ArrayShape(
            width: width, height: height, depth: depth, format: format, channels: numChannels, flags: flags)
        let levelCount = Int(numMipmapLevels)
        guard levelCount >= 1, levelCount <= shape.levelsMax, let byteCount = shape.byteCount(levels: levelCount) else {
            throw .invalidValue
        }
        _ = try Self.extent(of: shape)
        let allocation = try context.device.allocate(byteCount)
        let made = try mipmappedArrays.insert { bits in
            var address = allocation.address
            var levels: [ArrayMemory] = []
            for number in 0..<levelCount {
                let level = shape.level(number)
                guard let extent = level.extent, let bytes = extent.byteCount else { break }
                levels.append(
                    ArrayMemory(
                        bits: 0, context: context.bits, shape: level, extent: extent, address: address,
                        allocation: allocation, parent: bits))
                address += UInt64(bytes)
            }
            return MipmappedArrayMemory(bits: bits, context: context.bits, shape: shape, levels: levels)
        }
        return MipmappedArrayHandle(bits: made.bits)
    }

    package func cuMipmappedArrayDestroy(
        _ context: ContextHandle, hMipmappedArray: MipmappedArrayHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        guard let array = mipmappedArrays.remove(hMipmappedArray.bits) else { throw .invalidHandle }
        arrays.removeAll { $0.parent == array.bits }
        context.waitForAll()
        if array.context != context.bits { contexts[array.context]?.waitForAll() }
        try context.checkHealth()
    }

    package func cuMipmappedArrayGetLevel(
        _ context: ContextHandle, hMipmappedArray: MipmappedArrayHandle, level: UInt32
    ) throws(CUDAError) -> ArrayHandle {
        _ = try self.context(context)
        let array = try mipmappedArray(hMipmappedArray)
        guard Int(level) < array.levels.count else { throw .invalidValue }
        let memory = array.levels[Int(level)]
        let made = try arrays.insert { bits in
            ArrayMemory(
                bits: bits, context: memory.context, shape: memory.shape, extent: memory.extent,
                address: memory.address, allocation: memory.allocation, parent: array.bits)
        }
        return ArrayHandle(bits: made.bits)
    }

    func array(_ handle: ArrayHandle) throws(CUDAError) -> ArrayMemory {
        guard let array = arrays[handle.bits] else { throw .invalidHandle }
        return array
    }

    func mipmappedArray(_ handle: MipmappedArrayHandle) throws(CUDAError) -> MipmappedArrayMemory {
        guard let array = mipmappedArrays[handle.bits] else { throw .invalidHandle }
        return array
    }

    /// The memory of a box in an array, if all of it is inside.
    func arrayBox(_ box: DeviceBox, _ extent: Extent) throws(CUDAError) -> (Box, any MemoryHolder) {
        let array = try array(box.array)
        let size = array.extent
        guard box.x >= 0, box.y >= 0, box.z >= 0, extent.widthBytes <= size.widthBytes,
            box.x <= size.widthBytes - extent.widthBytes, extent.height <= size.height,
            box.y <= size.height - extent.height, extent.depth <= size.depth, box.z <= size.depth - extent.depth
        else { throw .invalidValue }
        let offset = box.z * array.sliceBytes + box.y * array.rowBytes + box.x
        return (
            Box(address: array.address + UInt64(offset), rowBytes: array.rowBytes, sliceBytes: array.sliceBytes),
            array.allocation
        )
    }
}

// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
package import Driver
import Synchronization

// Arrays: their elements are counted before the driver is asked, and what it took beyond that afterwards, because only
// the driver knows how it arranges them.

extension PartitionedDriver {
    package func cuArray3DCreate_v2(
        _ context: ContextHandle, width: Int, height: Int, depth: Int, format: UInt32, numChannels: UInt32,
        flags: UInt32
    ) throws(CUDAError) -> ArrayHandle {
        let shape = ArrayShape(
            width: width, height: height, depth: depth, format: format, channels: numChannels, flags: flags)
        let (array, counted) = try count(context, shape.byteCount(levels: 1)) { () throws(CUDAError) in
            try driver.cuArray3DCreate_v2(
                context, width: width, height: height, depth: depth, format: format, numChannels: numChannels,
                flags: flags)
        } undo: { array throws(CUDAError) in
            try driver.cuArrayDestroy(context, hArray: array)
        }
        account.withLock { $0.arrays[array] = counted }
        return array
    }

    package func cuMipmappedArrayCreate(
        _ context: ContextHandle, width: Int, height: Int, depth: Int, format: UInt32, numChannels: UInt32,
        flags: UInt32, numMipmapLevels: UInt32
    ) throws(CUDAError) -> MipmappedArrayHandle {
        let shape = ArrayShape(
            width: width, height: height, depth: depth, format: format, channels: numChannels, flags: flags)
        guard numMipmapLevels >= 1, numMipmapLevels <= max(1, shape.levelsMax) else { throw .invalidValue }
        let byteCount = shape.byteCount(levels: Int(numMipmapLevels))
        let (array, counted) = try count(context, byteCount) { () throws(CUDAError) in
            try driver.cuMipmappedArrayCreate(
                context, width: width, height: height, depth: depth, format: format, numChannels: numChannels,
                flags: flags, numMipmapLevels: numMipmapLevels)
        } undo: { array throws(CUDAError) in
            try driver.cuMipmappedArrayDestroy(context, hMipmappedArray: array)
        }
        account.withLock { $0.mipmappedArrays[array] = counted }
        return array
    }

    package func cuArrayDestroy(_ context: ContextHandle, hArray: ArrayHandle) throws(CUDAError) {
        try driver.cuArrayDestroy(context, hArray: hArray)
        if let counted = account.withLock({ $0.arrays.removeValue(forKey: hArray) }) { giveBack(counted) }
    }

    package func cuMipmappedArrayDestroy(
        _ context: ContextHandle, hMipmappedArray: MipmappedArrayHandle
    ) throws(CUDAError) {
        try driver.cuMipmappedArrayDestroy(context, hMipmappedArray: hMipmappedArray)
        if let counted = account.withLock({ $0.mipmappedArrays.removeValue(forKey: hMipmappedArray) }) {
            giveBack(counted)
        }
    }

    private func giveBack(_ array: MemoryAccount.Array) {
        giveBack(array.byteCount, on: array.device)
        slot.giveBack(array.moreBytes, device: Int(array.device))
    }

    private func count<Made>(
        _ context: ContextHandle, _ byteCount: Int?, _ make: () throws(CUDAError) -> Made,
        undo: (Made) throws(CUDAError) -> Void
    ) throws(CUDAError) -> (Made, MemoryAccount.Array) {
        guard let device = account.withLock({ $0.device(of: context) }) else { throw .invalidContext }
        guard let byteCount else { throw .invalidValue }
        guard let blocks = take(byteCount, on: device) else { throw .outOfMemory }
        let before = freeBytes(context)
        let made: Made
        do throws(CUDAError) {
            made = try make()
        } catch {
            giveBack(byteCount, on: device)
            throw error
        }
        let more = max(0, bytesTaken(context, since: before) - blocks)
        guard slot.take(more, device: Int(device)) else {
            try? undo(made)
            giveBack(byteCount, on: device)
            throw .outOfMemory
        }
        return (made, MemoryAccount.Array(context: context, device: device, byteCount: byteCount, moreBytes: more))
    }
}

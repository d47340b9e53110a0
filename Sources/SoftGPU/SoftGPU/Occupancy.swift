// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import KernelCompiler

/// How many blocks of a kernel a multiprocessor of the reported device would hold, by the rules of compute capability
/// 7.5: whole warps, registers in units of 256 per warp over four partitions, and shared memory in units of 256 bytes.
enum Occupancy {
    private static let registerUnit = 256
    /// Registers per thread come in steps of this.
    static let registerGranule = 8
    private static let partitions = 4
    private static let sharedUnit = 256

    static func blocks(_ function: Function, threads: Int, dynamicSharedBytes: Int) -> Int {
        let description = function.description
        guard threads <= description.maxThreadsPerBlock, threads <= DeviceProfile.threadsPerBlock else { return 0 }
        let byOthers = blocksWithoutShared(function, threads: threads)
        let sharedMax = DeviceProfile.sharedBytesPerMultiprocessor
        guard dynamicSharedBytes <= sharedMax else { return 0 }
        let shared = roundedUp(description.staticSharedBytes + dynamicSharedBytes, to: sharedUnit)
        guard shared > 0 else { return byOthers }
        return min(byOthers, sharedMax / shared)
    }

    /// Whether all blocks of a launch that has passed the other checks are on the device at the same time, as those of
    /// a cooperative grid must be.
    static func canReside(_ function: Function, _ shape: LaunchGeometry) -> Bool {
        let threads = Int(shape.blockX) * Int(shape.blockY) * Int(shape.blockZ)
        let blocks = blocks(function, threads: threads, dynamicSharedBytes: Int(shape.dynamicSharedBytes))
        let blocksMax = UInt64(blocks * function.profile.multiprocessors)
        let (plane, isLarge) = UInt64(shape.gridX).multipliedReportingOverflow(by: UInt64(shape.gridY))
        let (count, isHuge) = plane.multipliedReportingOverflow(by: UInt64(shape.gridZ))
        return !isLarge && !isHuge && count <= blocksMax
    }

    /// The dynamic shared memory with which `blocks` blocks fit.
    ///
    /// CUDA_ERROR_INVALID_VALUE when they do not fit at all.
    static func availableSharedBytes(_ function: Function, blocks: Int, threads: Int) throws(CUDAError) -> Int {
        guard blocks <= self.blocks(function, threads: threads, dynamicSharedBytes: 0) else { throw .invalidValue }
        let perBlock = DeviceProfile.sharedBytesPerMultiprocessor / blocks / sharedUnit * sharedUnit
        return max(0, min(perBlock, DeviceProfile.sharedBytesPerBlockOptIn) - function.description.staticSharedBytes)
    }

    private static func blocksWithoutShared(_ function: Function, threads: Int) -> Int {
        let warpsPerBlock = (threads + DeviceProfile.warpThreads - 1) / DeviceProfile.warpThreads
        let warpsMax = DeviceProfile.threadsPerMultiprocessor / DeviceProfile.warpThreads
        let registersPerWarp = roundedUp(
            max(1, function.registers) * DeviceProfile.warpThreads, to: registerUnit)
        let perPartition = DeviceProfile.registersPerMultiprocessor / partitions
        let warpsByRegisters = perPartition / registersPerWarp * partitions
        return min(
            DeviceProfile.blocksPerMultiprocessor, warpsMax / warpsPerBlock, warpsByRegisters / warpsPerBlock)
    }

    private static func roundedUp(_ value: Int, to unit: Int) -> Int { (value + unit - 1) / unit * unit }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Occupancy: the driver computes how many blocks fit; its answers are kept, and the best block size is searched here.
extension Shim {
    /// Answers kept for one function.
    private static var occupanciesMax: Int { 4096 }

    func cuOccupancyMaxActiveBlocksPerMultiprocessor(
        _ numBlocks: UnsafeMutablePointer<Int32>?, _ func: OpaquePointer?, _ blockSize: Int32, _ dynamicSMemSize: Int
    ) throws(CUDAError) {
        try cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(numBlocks, `func`, blockSize, dynamicSMemSize, 0)
    }

    func cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        _ numBlocks: UnsafeMutablePointer<Int32>?, _ func: OpaquePointer?, _ blockSize: Int32, _ dynamicSMemSize: Int,
        _ flags: UInt32
    ) throws(CUDAError) {
        // Bit 0 turns off a heuristic of the caches, as CUDA documents; there are no others.
        guard flags <= 1, numBlocks != nil else { throw .invalidValue }
        let blocks = try activeBlocks(
            try function(`func`),
            Function.OccupancyKey(blockSize: blockSize, dynamicSharedBytes: dynamicSMemSize, flags: flags))
        try write(blocks, to: numBlocks)
    }

    func cuOccupancyAvailableDynamicSMemPerBlock(
        _ dynamicSmemSize: UnsafeMutablePointer<Int>?, _ func: OpaquePointer?, _ numBlocks: Int32, _ blockSize: Int32
    ) throws(CUDAError) {
        guard dynamicSmemSize != nil, numBlocks > 0, blockSize > 0 else { throw .invalidValue }
        let function = try function(`func`)
        let bytes = try driver.cuOccupancyAvailableDynamicSMemPerBlock(
            try function.context.handle, hfunc: function.handle, numBlocks: numBlocks, blockSize: blockSize)
        try write(bytes, to: dynamicSmemSize)
    }

    func cuOccupancyMaxPotentialBlockSize(
        _ minGridSize: UnsafeMutablePointer<Int32>?, _ blockSize: UnsafeMutablePointer<Int32>?, _ func: OpaquePointer?,
        _ blockSizeToDynamicSMemSize: CUoccupancyB2DSize?, _ dynamicSMemSize: Int, _ blockSizeLimit: Int32
    ) throws(CUDAError) {
        try cuOccupancyMaxPotentialBlockSizeWithFlags(
            minGridSize, blockSize, `func`, blockSizeToDynamicSMemSize, dynamicSMemSize, blockSizeLimit, 0)
    }

    /// The block size with which most threads are active on a multiprocessor; the largest of several.
    ///
    /// Sizes are whole warps, or the limit itself.
    func cuOccupancyMaxPotentialBlockSizeWithFlags(
        _ minGridSize: UnsafeMutablePointer<Int32>?, _ blockSize: UnsafeMutablePointer<Int32>?, _ func: OpaquePointer?,
        _ blockSizeToDynamicSMemSize: CUoccupancyB2DSize?, _ dynamicSMemSize: Int, _ blockSizeLimit: Int32,
        _ flags: UInt32
    ) throws(CUDAError) {
        guard let minGridSize, let blockSize, flags <= 1 else { throw .invalidValue }
        let function = try function(`func`)
        let device = function.context.device
        let warp = max(1, device.description[CU_DEVICE_ATTRIBUTE_WARP_SIZE])
        let threadsMax = device.description[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR]
        var limit = min(Int32(clamping: device.limits.threadsPerBlock), Int32(clamping: function.threadsPerBlockMax))
        if blockSizeLimit > 0 { limit = min(limit, blockSizeLimit) }
        var best = (threads: Int32(0), blocks: Int32(0), size: Int32(0))
        var size = limit
        while size > 0, best.threads < threadsMax {
            let shared = blockSizeToDynamicSMemSize.map { $0(size) } ?? dynamicSMemSize
            let key = Function.OccupancyKey(blockSize: size, dynamicSharedBytes: shared, flags: flags)
            let blocks = try activeBlocks(function, key)
            let (threads, isOverflow) = blocks.multipliedReportingOverflow(by: size)
            guard !isOverflow else { throw .unknown }
            if threads > best.threads { best = (threads, blocks, size) }
            size = size % warp == 0 ? size - warp : size / warp * warp
        }
        blockSize.pointee = best.size
        minGridSize.pointee = best.blocks &* device.description[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT]
    }

    func cuOccupancyMaxActiveClusters(
        _ numClusters: UnsafeMutablePointer<Int32>?, _ func: OpaquePointer?, _ config: UnsafePointer<CUlaunchConfig>?
    ) throws(CUDAError) {
        guard numClusters != nil else { throw .invalidValue }
        let (function, geometry) = try clusterQuestion(`func`, config)
        let clusters = try driver.cuOccupancyMaxActiveClusters(
            try function.context.handle, hfunc: function.handle, geometry)
        try write(clusters, to: numClusters)
    }

    func cuOccupancyMaxPotentialClusterSize(
        _ clusterSize: UnsafeMutablePointer<Int32>?, _ func: OpaquePointer?, _ config: UnsafePointer<CUlaunchConfig>?
    ) throws(CUDAError) {
        guard clusterSize != nil else { throw .invalidValue }
        let (function, geometry) = try clusterQuestion(`func`, config)
        let size = try driver.cuOccupancyMaxPotentialClusterSize(
            try function.context.handle, hfunc: function.handle, geometry)
        try write(size, to: clusterSize)
    }

    /// The launch that a question about clusters is about; on a device without clusters there is none.
    private func clusterQuestion(
        _ handle: OpaquePointer?, _ config: UnsafePointer<CUlaunchConfig>?
    ) throws(CUDAError) -> (Function, LaunchGeometry) {
        guard let config = config?.pointee else { throw .invalidValue }
        let function = try function(handle)
        let device = function.context.device
        guard device.limits.hasClusters else { throw CUDAError(CUDA_ERROR_INVALID_CLUSTER_SIZE) }
        var geometry = LaunchGeometry(
            grid: (config.gridDimX, config.gridDimY, config.gridDimZ),
            block: (config.blockDimX, config.blockDimY, config.blockDimZ), dynamicSharedBytes: config.sharedMemBytes)
        try apply(config, to: &geometry, on: device)
        return (function, geometry)
    }

    /// Refuses a cooperative launch whose blocks cannot all be on the device at the same time, as CUDA does at once.
    ///
    /// The driver is asked once for each size of blocks.
    func checkResidency(_ geometry: LaunchGeometry, _ function: Function) throws(CUDAError) {
        let device = function.context.device
        guard device.description[CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH] != 0 else { throw .notSupported }
        try check(geometry, function, device.limits)
        let threads = Int32(clamping: UInt64(geometry.blockX) * UInt64(geometry.blockY) * UInt64(geometry.blockZ))
        let key = Function.OccupancyKey(
            blockSize: threads, dynamicSharedBytes: Int(geometry.dynamicSharedBytes), flags: 0)
        let multiprocessors = device.description[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT]
        let blocksMax = UInt64(max(0, try activeBlocks(function, key))) * UInt64(max(0, multiprocessors))
        let (plane, isLarge) = UInt64(geometry.gridX).multipliedReportingOverflow(by: UInt64(geometry.gridY))
        let (blocks, isHuge) = plane.multipliedReportingOverflow(by: UInt64(geometry.gridZ))
        guard !isLarge, !isHuge, blocks <= blocksMax else { throw CUDAError(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE) }
    }

    private func activeBlocks(_ function: Function, _ key: Function.OccupancyKey) throws(CUDAError) -> Int32 {
        guard key.blockSize > 0, key.dynamicSharedBytes >= 0 else { throw .invalidValue }
        if let known = function.occupancies.withLock({ $0[key] }) { return known }
        let blocks = try driver.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
            try function.context.handle, hfunc: function.handle, blockSize: key.blockSize,
            dynamicSMemSize: key.dynamicSharedBytes, flags: key.flags)
        function.occupancies.withLock { known in
            if known.count < Self.occupanciesMax { known[key] = blocks }
        }
        return blocks
    }
}

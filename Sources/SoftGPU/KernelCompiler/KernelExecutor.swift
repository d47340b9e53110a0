// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import Glibc
import Synchronization

/// Runs the blocks of launches on all cores.
///
/// A launch runs on the thread that asks for it; when it turns out to be worth the cost of waking them (about 20 us), a
/// pool of threads joins in. Several launches may run at once.
package final class KernelExecutor: Sendable {
    /// A launch expected to take longer than this is shared with the pool.
    private static let soloNanosecondsMax: UInt64 = 30_000
    /// Cores that are kept for callers; further simultaneous callers get temporary ones.
    private let cores: CorePool
    private let helpers: HelperThreads
    private let nextGrid = Atomic<UInt64>(1)

    /// - Parameter threads: How many cores a launch may use, the caller's included.
    package init(threads: Int) {
        sg_install_fault_handlers()
        cores = CorePool()
        helpers = HelperThreads(count: max(0, min(threads, 256) - 1), cores: cores)
    }

    deinit { helpers.stop() }

    /// Blocks the calling thread until the grid is done, or has failed.
    ///
    /// With a budget, the threads that run blocks take their cores from it.
    package func run(
        _ kernel: CompiledKernel, _ shape: LaunchShape, parameters: UnsafeRawBufferPointer, services: KernelServices,
        cancellation: KernelCancellation? = nil, budget: CoreBudget? = nil
    ) -> KernelOutcome {
        var launch = sg_launch()
        launch.loop = kernel.loop
        launch.start = kernel.start
        launch.frame_bytes = UInt64(kernel.frameBytes)
        launch.grid = shape.grid
        launch.block = shape.block
        launch.blocks = UInt64(shape.grid.0) * UInt64(shape.grid.1) * UInt64(shape.grid.2)
        launch.dynamic_shared = UInt32(clamping: shape.dynamicSharedBytes)
        launch.static_shared = UInt32(clamping: kernel.description.staticSharedBytes)
        launch.cooperative = shape.isCooperative ? 1 : 0
        launch.grid_id = nextGrid.wrappingAdd(1, ordering: .relaxed).oldValue
        launch.services = services.raw
        guard isPossible(kernel, shape, parameters) else { return .outOfResources }
        launch.parameters = parameters.baseAddress
        return withUnsafeMutablePointer(to: &launch) { launch in
            cancellation?.add(launch)
            defer { cancellation?.remove(launch) }
            return run(launch, budget)
        }
    }

    private func isPossible(
        _ kernel: CompiledKernel, _ shape: LaunchShape, _ parameters: UnsafeRawBufferPointer
    ) -> Bool {
        let (x, y, z) = shape.block
        let threads = UInt64(x) * UInt64(y) * UInt64(z)
        let (gx, gy, gz) = shape.grid
        let shared = kernel.description.staticSharedBytes + shape.dynamicSharedBytes
        return threads > 0 && threads <= 1024 && x <= 1024 && y <= 1024 && z <= 1024
            && gx > 0 && gy > 0 && gz > 0 && gy <= 65535 && gz <= 65535
            && shape.dynamicSharedBytes >= 0 && shared <= Self.sharedBytesMax
            && parameters.count >= kernel.description.parameterBytes
    }

    /// The most shared memory a block can have, static and dynamic together.
    package static let sharedBytesMax = 227 << 10

    private func run(_ launch: UnsafeMutablePointer<sg_launch>, _ budget: CoreBudget?) -> KernelOutcome {
        budget?.take()
        defer { budget?.give() }
        guard let core = cores.take() else { return .outOfResources }
        defer { cores.give(core) }
        let isShared = launch.pointee.blocks > 1 && helpers.count > 0 && deservesHelp(launch, core)
        if isShared { helpers.join(launch, budget) }
        if sg_launch_outcome(launch) == SG_RUNNING.rawValue { _ = sg_core_run(core, launch, .max) }
        if isShared { helpers.leave(launch) }
        return outcome(of: launch)
    }

    /// Runs a few blocks to learn how long one takes.
    ///
    /// Cooperative launches are always shared.
    private func deservesHelp(_ launch: UnsafeMutablePointer<sg_launch>, _ core: OpaquePointer) -> Bool {
        if launch.pointee.cooperative != 0 { return true }
        let begin = nanoseconds()
        var tried: UInt64 = 0
        while true {
            guard sg_core_run(core, launch, max(1, tried)) != 0 else { return false }
            tried = sg_launch_started(launch)
            let spent = nanoseconds() &- begin
            let left = launch.pointee.blocks - min(tried, launch.pointee.blocks)
            if spent / max(1, tried) * left > Self.soloNanosecondsMax { return true }
            if spent > Self.soloNanosecondsMax { return left > 0 }
        }
    }

    private func nanoseconds() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }

    private func outcome(of launch: UnsafeMutablePointer<sg_launch>) -> KernelOutcome {
        switch sg_outcome(rawValue: sg_launch_outcome(launch)) {
        case SG_RUNNING, SG_COMPLETED: .completed
        case SG_ILLEGAL_ADDRESS: .illegalAddress(launch.pointee.fault_address)
        case SG_MISALIGNED_ADDRESS: .misalignedAddress
        case SG_ASSERT_FAILED: .assertFailed
        case SG_ILLEGAL_INSTRUCTION: .illegalInstruction
        case SG_STACK_OVERFLOW: .stackOverflow
        case SG_CANCELLED: .cancelled
        case SG_OUT_OF_MEMORY: .outOfResources
        default: .trapped
        }
    }
}

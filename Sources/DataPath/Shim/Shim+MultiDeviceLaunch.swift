// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// One cooperative grid on each of several devices, which begin together and whose streams go on together.
///
/// The grids themselves do not wait for each other: what CUDA 12 and earlier offered for that (`multi_grid.sync`) is
/// code of the device library that CUDA 13 no longer has, on a workspace that only a driver can give to several
/// devices.
extension Shim {
    private struct Grid {
        let target: StreamTarget
        let event: EventHandle
    }

    func cuLaunchCooperativeKernelMultiDevice(
        _ launchParamsList: UnsafeMutablePointer<CUDA_LAUNCH_PARAMS>?, _ numDevices: UInt32, _ flags: UInt32
    ) throws(CUDAError) {
        // CUDA_COOPERATIVE_LAUNCH_MULTI_DEVICE_NO_PRE_LAUNCH_SYNC and _NO_POST_LAUNCH_SYNC.
        let (noPreSync, noPostSync) = (UInt32(1), UInt32(2))
        guard let launchParamsList, numDevices > 0, numDevices <= UInt32(devices.count),
            flags & ~(noPreSync | noPostSync) == 0
        else { throw .invalidValue }
        let launches = UnsafeBufferPointer(start: launchParamsList, count: Int(numDevices))
        let found = try check(launches)
        var grids: [Grid] = []
        // What is enqueued by then needs them no longer.
        defer { for grid in grids { try? driver.cuEventDestroy_v2(grid.target.context, hEvent: grid.event) } }
        for (_, target) in found {
            let event = try driver.cuEventCreate(target.context, flags: CU_EVENT_DISABLE_TIMING.rawValue)
            grids.append(Grid(target: target, event: event))
        }
        if flags & noPreSync == 0 { try join(grids) }
        for launch in launches {
            try cuLaunchCooperativeKernel(
                launch.function, launch.gridDimX, launch.gridDimY, launch.gridDimZ, launch.blockDimX,
                launch.blockDimY, launch.blockDimZ, launch.sharedMemBytes, launch.hStream, launch.kernelParams,
                defaultStream: .legacy)
        }
        if flags & noPostSync == 0 { try join(grids) }
    }

    /// Makes later work of each stream wait for what all of them have so far.
    private func join(_ grids: [Grid]) throws(CUDAError) {
        guard grids.count > 1 else { return }
        for grid in grids {
            try driver.cuEventRecordWithFlags(
                grid.target.context, hEvent: grid.event, hStream: grid.target.stream, flags: 0)
        }
        for (index, grid) in grids.enumerated() {
            for (other, awaited) in grids.enumerated() where other != index {
                try driver.cuStreamWaitEvent(
                    grid.target.context, hStream: grid.target.stream, hEvent: awaited.event, flags: 0)
            }
        }
    }

    /// Checks all launches before the first, and finds their kernels and streams.
    private func check(
        _ launches: UnsafeBufferPointer<CUDA_LAUNCH_PARAMS>
    ) throws(CUDAError) -> [(function: Function, target: StreamTarget)] {
        var found: [(function: Function, target: StreamTarget)] = []
        for launch in launches {
            // A default stream has no context of its own.
            guard bits(launch.hStream) > Self.perThreadStreamBits else { throw .invalidValue }
            let target = try target(launch.hStream, .legacy)
            let context = try context(of: target)
            let function = try function(launch.function, in: try ActiveContext(context))
            guard function.contextBits == target.contextBits else { throw .invalidHandle }
            let description = context.device.description
            guard description[CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH] != 0 else { throw .notSupported }
            let geometry = LaunchGeometry(
                grid: (launch.gridDimX, launch.gridDimY, launch.gridDimZ),
                block: (launch.blockDimX, launch.blockDimY, launch.blockDimZ),
                dynamicSharedBytes: launch.sharedMemBytes, isCooperative: true)
            try checkResidency(geometry, function)
            guard launch.kernelParams != nil || function.parameters.isEmpty else { throw .invalidValue }
            if let first = launches.first, let (other, _) = found.first {
                guard Self.hasSameShape(first, launch), Self.isSameKernel(other, function),
                    Self.isSameKind(other.context.device, context.device),
                    found.allSatisfy({ $0.function.context.device !== context.device })
                else { throw .invalidValue }
            }
            found.append((function, target))
        }
        return found
    }

    private static func hasSameShape(_ one: CUDA_LAUNCH_PARAMS, _ other: CUDA_LAUNCH_PARAMS) -> Bool {
        (one.gridDimX, one.gridDimY, one.gridDimZ) == (other.gridDimX, other.gridDimY, other.gridDimZ)
            && (one.blockDimX, one.blockDimY, one.blockDimZ) == (other.blockDimX, other.blockDimY, other.blockDimZ)
            && one.sharedMemBytes == other.sharedMemBytes
    }

    /// Whether two modules' kernels are, as far as can be told, of the same code.
    private static func isSameKernel(_ one: Function, _ other: Function) -> Bool {
        one.name.string == other.name.string && one.parameters == other.parameters
    }

    private static func isSameKind(_ one: Device, _ other: Device) -> Bool {
        [
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
        ].allSatisfy { one.description[$0] == other.description[$0] }
    }
}

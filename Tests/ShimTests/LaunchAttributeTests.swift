// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

/// Launches that say more than sizes: cooperative grids and clusters, which the second of the devices has.
@Suite struct LaunchAttributeTests {
    /// Runs in the second device's context.
    private func run(_ body: @escaping @Sendable (Harness, OpaquePointer?) throws -> Void) throws {
        try Harness().run { harness in
            _ = try harness.enterPrimary(1)
            let kernel = try harness.kernel()
            _ = harness.driver.takeCalls()
            try body(harness, kernel)
        }
    }

    /// Calls with two parameters, as the kernel has them.
    private static func withParameters<Result>(
        _ body: (UnsafeMutablePointer<UnsafeMutableRawPointer?>?) throws -> Result
    ) rethrows -> Result {
        var value: UInt64 = 1
        return try withUnsafeMutablePointer(to: &value) { value in
            var parameters = [UnsafeMutableRawPointer?](repeating: UnsafeMutableRawPointer(value), count: 2)
            return try body(&parameters)
        }
    }

    private static func cluster(_ x: UInt32, _ y: UInt32, _ z: UInt32) -> CUlaunchAttribute {
        var attribute = CUlaunchAttribute()
        attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        (attribute.value.clusterDim.x, attribute.value.clusterDim.y, attribute.value.clusterDim.z) = (x, y, z)
        return attribute
    }

    private static func withConfiguration(
        _ blocks: UInt32, _ attributes: [CUlaunchAttribute], _ body: (UnsafePointer<CUlaunchConfig>) -> CUresult
    ) -> CUresult {
        var attributes = attributes
        return attributes.withUnsafeMutableBufferPointer { attributes in
            var configuration = CUlaunchConfig(
                gridDimX: blocks, gridDimY: 1, gridDimZ: 1, blockDimX: 64, blockDimY: 1, blockDimZ: 1,
                sharedMemBytes: 0, hStream: nil, attrs: attributes.baseAddress, numAttrs: UInt32(attributes.count))
            return body(&configuration)
        }
    }

    private static func launch(
        _ harness: Harness, _ kernel: OpaquePointer?, _ blocks: UInt32, _ attribute: CUlaunchAttribute
    ) -> CUresult {
        withParameters { parameters in
            withConfiguration(blocks, [attribute]) { configuration in
                harness.code { () throws(CUDAError) in
                    try harness.shim.cuLaunchKernelEx(configuration, kernel, parameters, nil, defaultStream: .legacy)
                }
            }
        }
    }

    /// Four multiprocessors with four blocks each; the driver is asked once.
    @Test func aCooperativeGridMustFitTheDevice() throws {
        try run { harness, kernel in
            func launch(_ x: UInt32, _ y: UInt32 = 1) -> CUresult {
                Self.withParameters { parameters in
                    harness.code { () throws(CUDAError) in
                        try harness.shim.cuLaunchCooperativeKernel(
                            kernel, x, y, 1, 64, 1, 1, 0, nil, parameters, defaultStream: .legacy)
                    }
                }
            }
            #expect(launch(16) == CUDA_SUCCESS)
            #expect(launch(17) == CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE)
            #expect(launch(0x7FFF_FFFF, 65535) == CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE)
            #expect(launch(0) == CUDA_ERROR_INVALID_VALUE)
            #expect(harness.driver.takeCalls() == ["occupancy 64", "launch 16x64 on 0 with 1"])
        }
    }

    @Test func aDeviceThatCannotLaunchTogetherRefuses() throws {
        try Harness().run { harness in
            let kernel = try harness.kernel()
            let code = harness.code { () throws(CUDAError) in
                try harness.shim.cuLaunchCooperativeKernel(
                    kernel, 1, 1, 1, 1, 1, 1, 0, nil, nil, defaultStream: .legacy)
            }
            #expect(code == CUDA_ERROR_NOT_SUPPORTED)
        }
    }

    @Test func clustersTravelWithTheLaunch() throws {
        try run { harness, kernel in
            func launch(_ x: UInt32, _ y: UInt32, _ z: UInt32) -> CUresult {
                Self.launch(harness, kernel, 32, Self.cluster(x, y, z))
            }
            #expect(launch(4, 2, 1) == CUDA_SUCCESS)
            #expect(launch(1, 1, 1) == CUDA_SUCCESS)
            #expect(launch(0, 1, 1) == CUDA_ERROR_INVALID_VALUE)
            #expect(launch(256, 1, 1) == CUDA_ERROR_INVALID_CLUSTER_SIZE)
            #expect(
                harness.driver.takeCalls() == ["launch 32x64 on 0 with 1020400", "launch 32x64 on 0 with 1010100"])
        }
    }

    @Test func clustersAreCountedByTheDriver() throws {
        try run { harness, kernel in
            var clusters: Int32 = 0, size: Int32 = 0
            let code = Self.withConfiguration(32, [Self.cluster(2, 1, 1)]) { configuration in
                harness.code { () throws(CUDAError) in
                    try harness.shim.cuOccupancyMaxActiveClusters(&clusters, kernel, configuration)
                    try harness.shim.cuOccupancyMaxPotentialClusterSize(&size, kernel, configuration)
                }
            }
            #expect(code == CUDA_SUCCESS && clusters == 5 && size == 8)
            #expect(harness.driver.takeCalls() == ["clusters of 2x1x1", "cluster of 64"])
            #expect(
                harness.code { () throws(CUDAError) in
                    try harness.shim.cuOccupancyMaxActiveClusters(&clusters, kernel, nil)
                } == CUDA_ERROR_INVALID_VALUE)
        }
    }

    @Test func aDeviceWithoutClustersSaysSo() throws {
        try Harness().run { harness in
            let kernel = try harness.kernel()
            var count: Int32 = 0
            for attribute in [Self.cluster(2, 1, 1), Self.cluster(1, 1, 1)] {
                let isOne = attribute.value.clusterDim.x == 1
                #expect(
                    Self.launch(harness, kernel, 4, attribute)
                        == (isOne ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE))
                let counted = Self.withConfiguration(4, [attribute]) { configuration in
                    harness.code { () throws(CUDAError) in
                        try harness.shim.cuOccupancyMaxActiveClusters(&count, kernel, configuration)
                    }
                }
                #expect(counted == CUDA_ERROR_INVALID_CLUSTER_SIZE)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package import Driver

/// A green context takes no memory of its own: what is allocated in it belongs to the primary context.
extension PartitionedDriver {
    package func cuDeviceGetDevResource(dev: Int32) throws(CUDAError) -> MultiprocessorResource {
        try driver.cuDeviceGetDevResource(dev: driverDevice(dev))
    }

    package func cuGreenCtxCreate(
        desc: UInt64, dev: Int32, flags: UInt32
    ) throws(CUDAError) -> GreenContextHandle {
        try driver.cuGreenCtxCreate(desc: desc, dev: driverDevice(dev), flags: flags)
    }
}

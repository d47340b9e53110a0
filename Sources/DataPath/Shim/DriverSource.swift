// SPDX-License-Identifier: Apache-2.0
package import Driver

/// What `bitfusion_make_driver` returns: the driver that the exports stand on, and where its memory is.
package final class DriverSource: Sendable {
    package let driver: any Driver
    /// Whether device memory is outside this process, so that its addresses must be kept free of host memory here.
    package let hasRemoteMemory: Bool

    package init(_ driver: any Driver, hasRemoteMemory: Bool) {
        self.driver = driver
        self.hasRemoteMemory = hasRemoteMemory
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The variables that a CUDA driver reads, once per process.
struct Environment: Sendable {
    /// CUDA_VISIBLE_DEVICES, or nil if it is not set.
    var visibleDevices: String?
    /// CUDA_DEVICE_ORDER, in which devices are numbered.
    var deviceOrder = DeviceOrder.fastestFirst
    /// CUDA_LAUNCH_BLOCKING: launches, copies and sets return when they are done.
    var isLaunchBlocking = false
    /// CUDA_MODULE_LOADING=EAGER: runtimes load their modules at start.
    var loadsModulesEagerly = false

    static func ofProcess() -> Environment {
        func value(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
        return Environment(
            visibleDevices: value("CUDA_VISIBLE_DEVICES"), deviceOrder: DeviceOrder(value("CUDA_DEVICE_ORDER")),
            isLaunchBlocking: (value("CUDA_LAUNCH_BLOCKING").flatMap { Int($0) } ?? 0) != 0,
            loadsModulesEagerly: value("CUDA_MODULE_LOADING") == "EAGER")
    }
}

// SPDX-License-Identifier: Apache-2.0
package import CNVML
import Glibc

// What a software GPU does not have: displays, fans, clocks, error-correcting memory, partitions in hardware. A valid
// device is NVML_ERROR_NOT_SUPPORTED, which tools show as N/A; anything else is the caller's mistake.

private func notSupported(_ device: nvmlDevice_t?) -> nvmlReturn_t {
    NVMLLibrary.withDevice(device) { _, _ in NVML.notSupported }
}

@c @implementation
package func nvmlDeviceGetDisplayActive(
    _ device: nvmlDevice_t?, _ active: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetDisplayMode(_ device: nvmlDevice_t?, _ mode: UnsafeMutablePointer<UInt32>?) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetEccMode(
    _ device: nvmlDevice_t?, _ current: UnsafeMutablePointer<UInt32>?, _ pending: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetTotalEccErrors(
    _ device: nvmlDevice_t?, _ kind: UInt32, _ counter: UInt32, _ count: UnsafeMutablePointer<UInt64>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetFanSpeed(_ device: nvmlDevice_t?, _ percent: UnsafeMutablePointer<UInt32>?) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetTemperature(
    _ device: nvmlDevice_t?, _ sensor: UInt32, _ degrees: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetTemperatureThreshold(
    _ device: nvmlDevice_t?, _ threshold: UInt32, _ degrees: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetPerformanceState(
    _ device: nvmlDevice_t?, _ state: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetPowerUsage(
    _ device: nvmlDevice_t?, _ milliwatts: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetPowerManagementLimit(
    _ device: nvmlDevice_t?, _ milliwatts: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetEnforcedPowerLimit(
    _ device: nvmlDevice_t?, _ milliwatts: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetClockInfo(
    _ device: nvmlDevice_t?, _ clock: UInt32, _ megahertz: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetMaxClockInfo(
    _ device: nvmlDevice_t?, _ clock: UInt32, _ megahertz: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetPcieThroughput(
    _ device: nvmlDevice_t?, _ counter: UInt32, _ kibibytesPerSecond: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetEncoderUtilization(
    _ device: nvmlDevice_t?, _ percent: UnsafeMutablePointer<UInt32>?, _ microseconds: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetDecoderUtilization(
    _ device: nvmlDevice_t?, _ percent: UnsafeMutablePointer<UInt32>?, _ microseconds: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetDriverModel(
    _ device: nvmlDevice_t?, _ current: UnsafeMutablePointer<UInt32>?, _ pending: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetMigMode(
    _ device: nvmlDevice_t?, _ current: UnsafeMutablePointer<UInt32>?, _ pending: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetMaxMigDeviceCount(
    _ device: nvmlDevice_t?, _ count: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceIsMigDeviceHandle(
    _ device: nvmlDevice_t?, _ isMigDevice: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceGetVirtualizationMode(
    _ device: nvmlDevice_t?, _ mode: UnsafeMutablePointer<UInt32>?
) -> nvmlReturn_t {
    notSupported(device)
}

@c @implementation
package func nvmlDeviceValidateInforom(_ device: nvmlDevice_t?) -> nvmlReturn_t { notSupported(device) }

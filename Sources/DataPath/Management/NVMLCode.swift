// SPDX-License-Identifier: Apache-2.0
import CNVML

/// The result codes with the type that the functions return.
package enum NVMLCode {
    package static let success = UInt32(NVML_SUCCESS)
    package static let uninitialized = UInt32(NVML_ERROR_UNINITIALIZED)
    package static let invalidArgument = UInt32(NVML_ERROR_INVALID_ARGUMENT)
    package static let notSupported = UInt32(NVML_ERROR_NOT_SUPPORTED)
    package static let noPermission = UInt32(NVML_ERROR_NO_PERMISSION)
    package static let notFound = UInt32(NVML_ERROR_NOT_FOUND)
    package static let insufficientSize = UInt32(NVML_ERROR_INSUFFICIENT_SIZE)
    package static let driverNotLoaded = UInt32(NVML_ERROR_DRIVER_NOT_LOADED)
    package static let timeout = UInt32(NVML_ERROR_TIMEOUT)
    package static let functionNotFound = UInt32(NVML_ERROR_FUNCTION_NOT_FOUND)
    package static let gpuIsLost = UInt32(NVML_ERROR_GPU_IS_LOST)
    package static let memory = UInt32(NVML_ERROR_MEMORY)
    package static let insufficientResources = UInt32(NVML_ERROR_INSUFFICIENT_RESOURCES)
    package static let versionMismatch = UInt32(NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
    package static let unknown = UInt32(NVML_ERROR_UNKNOWN)
}

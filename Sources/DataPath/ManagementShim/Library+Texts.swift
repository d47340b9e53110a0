// SPDX-License-Identifier: Apache-2.0
import CNVML
import Management

extension Library {
    func nvmlErrorString(_ result: UInt32) -> UnsafePointer<CChar>? {
        let text: StaticString =
            switch Int(result) {
            case NVML_SUCCESS: "Success"
            case NVML_ERROR_UNINITIALIZED: "Uninitialized"
            case NVML_ERROR_INVALID_ARGUMENT: "Invalid Argument"
            case NVML_ERROR_NOT_SUPPORTED: "Not Supported"
            case NVML_ERROR_NO_PERMISSION: "Insufficient Permissions"
            case NVML_ERROR_ALREADY_INITIALIZED: "Already Initialized"
            case NVML_ERROR_NOT_FOUND: "Not Found"
            case NVML_ERROR_INSUFFICIENT_SIZE: "Insufficient Size"
            case NVML_ERROR_INSUFFICIENT_POWER: "Insufficient External Power"
            case NVML_ERROR_DRIVER_NOT_LOADED: "Driver Not Loaded"
            case NVML_ERROR_TIMEOUT: "Timeout"
            case NVML_ERROR_IRQ_ISSUE: "Interrupt Request Issue"
            case NVML_ERROR_LIBRARY_NOT_FOUND: "NVML Shared Library Not Found"
            case NVML_ERROR_FUNCTION_NOT_FOUND: "Function Not Found"
            case NVML_ERROR_CORRUPTED_INFOROM: "Corrupted infoROM"
            case NVML_ERROR_GPU_IS_LOST: "GPU is lost"
            case NVML_ERROR_RESET_REQUIRED: "GPU requires reset"
            case NVML_ERROR_OPERATING_SYSTEM: "GPU control device has been blocked"
            case NVML_ERROR_LIB_RM_VERSION_MISMATCH: "RM has detected an NVML/RM version mismatch"
            case NVML_ERROR_IN_USE: "In use by another client"
            case NVML_ERROR_MEMORY: "Insufficient Memory"
            case NVML_ERROR_NO_DATA: "No data"
            case NVML_ERROR_VGPU_ECC_NOT_SUPPORTED: "vGPU ECC not supported"
            case NVML_ERROR_INSUFFICIENT_RESOURCES: "Insufficient Resources"
            case NVML_ERROR_FREQ_NOT_SUPPORTED: "Frequency Not Supported"
            case NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "Argument Version Mismatch"
            case NVML_ERROR_DEPRECATED: "Deprecated"
            case NVML_ERROR_NOT_READY: "Not Ready"
            case NVML_ERROR_GPU_NOT_FOUND: "GPU Not Found"
            case NVML_ERROR_INVALID_STATE: "Invalid State"
            default: "Unknown Error"
            }
        return UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
    }
}

// SPDX-License-Identifier: Apache-2.0
package import CNVML
import Glibc

// The library itself and the system: initialisation, versions, error texts, and what nvidia-smi insists on at its
// start.

@c @implementation
package func nvmlInit() -> nvmlReturn_t { NVMLLibrary.initialise() }

@c @implementation
package func nvmlInit_v2() -> nvmlReturn_t { NVMLLibrary.initialise() }

@c @implementation
package func nvmlInitWithFlags(_ flags: UInt32) -> nvmlReturn_t { NVMLLibrary.initialise() }

@c @implementation
package func nvmlShutdown() -> nvmlReturn_t { NVMLLibrary.shutDown() }

@c @implementation
package func nvmlErrorString(_ result: nvmlReturn_t) -> UnsafePointer<CChar>? {
    let text: StaticString =
        switch Int(result) {
        case NVML_SUCCESS: "Success"
        case NVML_ERROR_UNINITIALIZED: "Uninitialized"
        case NVML_ERROR_INVALID_ARGUMENT: "Invalid Argument"
        case NVML_ERROR_NOT_SUPPORTED: "Not Supported"
        case NVML_ERROR_NO_PERMISSION: "Insufficient Permissions"
        case NVML_ERROR_NOT_FOUND: "Not Found"
        case NVML_ERROR_INSUFFICIENT_SIZE: "Insufficient Size"
        case NVML_ERROR_DRIVER_NOT_LOADED: "Driver Not Loaded"
        case NVML_ERROR_TIMEOUT: "Timeout"
        case NVML_ERROR_FUNCTION_NOT_FOUND: "Function Not Found"
        case NVML_ERROR_GPU_IS_LOST: "GPU is lost"
        case NVML_ERROR_MEMORY: "Insufficient Memory"
        case NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "Argument Version Mismatch"
        default: "Unknown Error"
        }
    return UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}

/// The table of functions outside the public interface without which nvidia-smi refuses to run.
///
/// Every entry says that it is not supported, which nvidia-smi shows as N/A.
@c @implementation
package func nvmlInternalGetExportTable(
    _ table: UnsafeMutablePointer<UnsafeRawPointer?>?, _ uuid: UnsafePointer<UInt8>?
) -> nvmlReturn_t {
    store(UnsafeRawPointer(ExportTable.entries), to: table)
}

private enum ExportTable {
    typealias Entry = @convention(c) () -> nvmlReturn_t

    /// More than the 244 entries nvidia-smi 535 was seen to call.
    static let entryCount = 600

    // SAFETY: written once, before the first reader sees it, and never freed.
    nonisolated(unsafe) static let entries: UnsafeMutablePointer<Entry> = {
        let entries = UnsafeMutablePointer<Entry>.allocate(capacity: entryCount)
        entries.initialize(repeating: { nvmlReturn_t(NVML_ERROR_NOT_SUPPORTED) }, count: entryCount)
        return entries
    }()
}

@c @implementation
package func nvmlEventSetCreate(_ set: UnsafeMutablePointer<nvmlEventSet_t?>?) -> nvmlReturn_t {
    // No event ever happens on a software GPU, so every set may be the same one.
    NVMLLibrary.withInventory { _ in store(nvmlEventSet_t(bitPattern: NVMLLibrary.handleBase - 1), to: set) }
}

@c @implementation
package func nvmlEventSetFree(_ set: nvmlEventSet_t?) -> nvmlReturn_t {
    NVMLLibrary.withInventory { _ in set == nil ? NVML.invalidArgument : NVML.success }
}

@c @implementation
package func nvmlSystemGetDriverVersion(_ version: UnsafeMutablePointer<CChar>?, _ length: UInt32) -> nvmlReturn_t {
    NVMLLibrary.withInventory { _ in copy("575.00.00", to: version, length: length) }
}

@c @implementation
package func nvmlSystemGetNVMLVersion(_ version: UnsafeMutablePointer<CChar>?, _ length: UInt32) -> nvmlReturn_t {
    NVMLLibrary.withInventory { _ in copy("13.575.00.00", to: version, length: length) }
}

/// CUDA 13.5, as the software libcuda reports it; answered without initialisation, as NVIDIA's library does.
@c @implementation
package func nvmlSystemGetCudaDriverVersion(_ version: UnsafeMutablePointer<Int32>?) -> nvmlReturn_t {
    store(13050, to: version)
}

@c @implementation
package func nvmlSystemGetCudaDriverVersion_v2(_ version: UnsafeMutablePointer<Int32>?) -> nvmlReturn_t {
    store(13050, to: version)
}

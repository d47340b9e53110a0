// SPDX-License-Identifier: Apache-2.0
import CNVML
import Glibc
import Synchronization

/// The state of the library in this process: how often it was initialised, and the GPUs it then found.
struct NVMLLibrary {
    var initialisations = 0
    var inventory: SoftInventory?

    static let shared = Mutex(NVMLLibrary())
    /// NVML handles are opaque; a number that is no address shows up as such in a debugger.
    static let handleBase = 0x5347_0000

    static func initialise() -> nvmlReturn_t {
        shared.withLock { library in
            if library.initialisations == 0 {
                // A description nobody can read is a machine without a driver; the software libcuda says why in words.
                guard let inventory = SoftInventory.fromEnvironment() else { return NVML.driverNotLoaded }
                library.inventory = inventory
            }
            library.initialisations += 1
            return NVML.success
        }
    }

    static func shutDown() -> nvmlReturn_t {
        shared.withLock { library in
            guard library.initialisations > 0 else { return NVML.uninitialized }
            library.initialisations -= 1
            if library.initialisations == 0 { library.inventory = nil }
            return NVML.success
        }
    }

    /// Runs `body` with the GPUs, or says that the library is not initialised.
    static func withInventory(_ body: (SoftInventory) -> nvmlReturn_t) -> nvmlReturn_t {
        guard let inventory = shared.withLock({ $0.inventory }) else { return NVML.uninitialized }
        return body(inventory)
    }

    /// Runs `body` with the GPUs and the ordinal a handle stands for; refuses any other pointer.
    static func withDevice(_ device: nvmlDevice_t?, _ body: (SoftInventory, Int) -> nvmlReturn_t) -> nvmlReturn_t {
        withInventory { inventory in
            let ordinal = Int(bitPattern: device) &- handleBase
            guard ordinal >= 0, ordinal < inventory.count else { return NVML.invalidArgument }
            return body(inventory, ordinal)
        }
    }

    static func handle(of ordinal: Int) -> nvmlDevice_t? { nvmlDevice_t(bitPattern: handleBase + ordinal) }
}

/// The result codes with the type the functions return.
enum NVML {
    static let success = nvmlReturn_t(NVML_SUCCESS)
    static let uninitialized = nvmlReturn_t(NVML_ERROR_UNINITIALIZED)
    static let invalidArgument = nvmlReturn_t(NVML_ERROR_INVALID_ARGUMENT)
    static let notSupported = nvmlReturn_t(NVML_ERROR_NOT_SUPPORTED)
    static let notFound = nvmlReturn_t(NVML_ERROR_NOT_FOUND)
    static let insufficientSize = nvmlReturn_t(NVML_ERROR_INSUFFICIENT_SIZE)
    static let driverNotLoaded = nvmlReturn_t(NVML_ERROR_DRIVER_NOT_LOADED)
    static let versionMismatch = nvmlReturn_t(NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
}

/// Writes a NUL-terminated text into a caller's buffer of `length` bytes.
func copy(_ text: String, to buffer: UnsafeMutablePointer<CChar>?, length: UInt32) -> nvmlReturn_t {
    guard let buffer else { return NVML.invalidArgument }
    let bytes = text.utf8
    guard bytes.count < Int(length) else { return NVML.insufficientSize }
    for (index, byte) in bytes.enumerated() { buffer[index] = CChar(bitPattern: byte) }
    buffer[bytes.count] = 0
    return NVML.success
}

/// Stores a result where the caller wants it; a null place is an invalid argument.
func store<Value>(_ value: Value, to place: UnsafeMutablePointer<Value>?) -> nvmlReturn_t {
    guard let place else { return NVML.invalidArgument }
    place.pointee = value
    return NVML.success
}

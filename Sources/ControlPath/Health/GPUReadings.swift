// SPDX-License-Identifier: Apache-2.0

/// What a management library answers to one question: a value, or NVML's code of why there is none.
package enum Reading<Value: Sendable & Codable & Equatable>: Sendable, Codable, Equatable {
    case value(Value)
    case code(UInt32)

    private enum Key: String, CodingKey {
        case value, code
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        if let value = try container.decodeIfPresent(Value.self, forKey: .value) {
            self = .value(value)
        } else {
            self = .code(try container.decode(UInt32.self, forKey: .code))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        switch self {
        case .value(let value): try container.encode(value, forKey: .value)
        case .code(let code): try container.encode(code, forKey: .code)
        }
    }

    /// The value; nil where the GPU does not have what is asked about.
    ///
    /// Throws where it should have told.
    func known(_ what: String) throws(SourceFailure) -> Value? {
        switch self {
        case .value(let value): return value
        case .code(NVMLResult.notSupported), .code(NVMLResult.functionNotFound): return nil
        case .code(let code): throw SourceFailure("\(what): \(NVMLResult.text(code))")
        }
    }

    /// Whether the library says that the GPU itself has failed.
    var isOfLostGPU: Bool {
        guard case .code(let code) = self else { return false }
        return [NVMLResult.gpuIsLost, NVMLResult.unknown].contains(code)
    }
}

/// Result codes of NVML that are judged here.
package enum NVMLResult {
    package static let notSupported: UInt32 = 3
    package static let driverNotLoaded: UInt32 = 9
    package static let functionNotFound: UInt32 = 13
    package static let gpuIsLost: UInt32 = 15
    package static let versionMismatch: UInt32 = 18
    package static let unknown: UInt32 = 999

    package static func text(_ code: UInt32) -> String {
        switch code {
        case notSupported: "not supported"
        case driverNotLoaded: "the driver is not loaded"
        case gpuIsLost: "the GPU is lost"
        case versionMismatch: "library and kernel module are of different versions"
        default: "NVML error \(code)"
        }
    }
}

/// What a server's management library and its driver's libraries say of the GPUs, for the checks.
///
/// A process of its own reads them, since the daemon loads no driver.
package struct GPUReadings: Sendable, Codable, Equatable {
    /// Why the management library does not start.
    package struct Problem: Sendable, Codable, Equatable {
        package var message: String
        /// NVML's code; nil when the library cannot be opened.
        package var code: UInt32?

        package init(message: String, code: UInt32?) {
            self.message = message
            self.code = code
        }
    }

    /// Nil when it has started; otherwise there are no readings but those of the libraries.
    package var problem: Problem?
    package var driverVersion: Reading<String>
    /// 1000 x major + 10 x minor.
    package var cudaVersion: Reading<Int>
    package var gpus: [GPUReading]
    package var pairs: [GPUPairReading]
    package var libraries: [LibraryReading]

    package init(
        problem: Problem? = nil, driverVersion: Reading<String>, cudaVersion: Reading<Int>, gpus: [GPUReading],
        pairs: [GPUPairReading], libraries: [LibraryReading]
    ) {
        self.problem = problem
        self.driverVersion = driverVersion
        self.cudaVersion = cudaVersion
        self.gpus = gpus
        self.pairs = pairs
        self.libraries = libraries
    }
}

package struct GPUReading: Sendable, Codable, Equatable {
    package struct Memory: Sendable, Codable, Equatable {
        package var total, reserved, free, used: UInt64

        package init(total: UInt64, reserved: UInt64, free: UInt64, used: UInt64) {
            self.total = total
            self.reserved = reserved
            self.free = free
            self.used = used
        }
    }

    package struct RemappedRows: Sendable, Codable, Equatable {
        package var corrected, uncorrected: UInt32
        package var isPending, hasFailed: Bool

        package init(corrected: UInt32, uncorrected: UInt32, isPending: Bool, hasFailed: Bool) {
            self.corrected = corrected
            self.uncorrected = uncorrected
            self.isPending = isPending
            self.hasFailed = hasFailed
        }
    }

    package var index: Int
    package var name: String
    package var uuid: String
    package var pciBusID: String
    /// 0 default, 1 one thread, 2 prohibited, 3 one process.
    package var computeMode: Reading<Int> = .code(NVMLResult.notSupported)
    package var isDivided: Reading<Bool> = .code(NVMLResult.notSupported)
    package var isPersistent: Reading<Bool> = .code(NVMLResult.notSupported)
    package var hasECC: Reading<Bool> = .code(NVMLResult.notSupported)
    /// Volatile: since the driver was loaded.
    package var uncorrectedErrors: Reading<UInt64> = .code(NVMLResult.notSupported)
    package var correctedErrors: Reading<UInt64> = .code(NVMLResult.notSupported)
    package var remappedRows: Reading<RemappedRows> = .code(NVMLResult.notSupported)
    package var isRetirementPending: Reading<Bool> = .code(NVMLResult.notSupported)
    package var celsius: Reading<Int> = .code(NVMLResult.notSupported)
    package var slowdownCelsius: Reading<Int> = .code(NVMLResult.notSupported)
    package var utilizationPercent: Reading<Int> = .code(NVMLResult.notSupported)
    package var memory: Reading<Memory> = .code(NVMLResult.notSupported)
    package var powerMilliwatts: Reading<Int> = .code(NVMLResult.notSupported)
    package var performanceState: Reading<Int> = .code(NVMLResult.notSupported)
    /// Bits that say why clocks are lower than they could be.
    package var clockReasons: Reading<UInt64> = .code(NVMLResult.notSupported)
    /// Processes that compute on it.
    package var processes: Reading<[UInt32]> = .code(NVMLResult.notSupported)
    package var linkWidth: Reading<Int> = .code(NVMLResult.notSupported)
    package var linkWidthMax: Reading<Int> = .code(NVMLResult.notSupported)
    package var linkReplays: Reading<UInt64> = .code(NVMLResult.notSupported)

    package init(index: Int, name: String, uuid: String, pciBusID: String) {
        self.index = index
        self.name = name
        self.uuid = uuid
        self.pciBusID = pciBusID
    }

    /// Its address as the kernel writes it: `0000:13:00.0`.
    var kernelAddress: String { kernelPCIAddress(pciBusID) }
}

package struct GPUPairReading: Sendable, Codable, Equatable {
    package var first: Int
    package var second: Int
    /// NVML's status of reading and of writing the other's memory; 0 when it works.
    package var read: Reading<Int>
    package var write: Reading<Int>
    /// How far apart they are: 10 and 20 are below one or more PCIe switches, higher ones further away.
    package var ancestor: Reading<Int>

    package init(first: Int, second: Int, read: Reading<Int>, write: Reading<Int>, ancestor: Reading<Int>) {
        self.first = first
        self.second = second
        self.read = read
        self.write = write
        self.ancestor = ancestor
    }
}

/// A PCI address with a domain of four digits in small letters, as the kernel writes it, from one of NVML or CUDA.
func kernelPCIAddress(_ address: String) -> String {
    let parts = address.lowercased().split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 3, let domain = Int(parts[0], radix: 16) else { return address.lowercased() }
    let digits = String(domain, radix: 16)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits + ":\(parts[1]):\(parts[2])"
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc

/// What `bitfusion run -- nvidia-smi` runs where there is no nvidia-smi: its default table and its list, by the
/// libnvidia-ml.so.1 that every tool would use.
struct GPUTableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gpu_table", abstract: "Show the GPUs of an allocation as nvidia-smi does", shouldDisplay: false)

    @Flag(name: .customShort("L"), help: "List the GPUs with their UUIDs.")
    var list = false

    func run() throws {
        try reporting {
            let library = try ManagementLibrary()
            let gpus = try library.devices().map { GPURow(library, $0, index: $1) }
            if list {
                for gpu in gpus { print("GPU \(gpu.index): \(gpu.name) (UUID: \(gpu.uuid))") }
            } else {
                print(GPUTable(driver: library.driverVersion, cuda: library.cudaVersion, gpus: gpus).text)
            }
        }
    }
}

/// The functions of libnvidia-ml.so.1 that the table needs.
private struct ManagementLibrary {
    typealias Device = UnsafeMutableRawPointer?
    private let handle: UnsafeMutableRawPointer

    init() throws {
        guard let handle = dlopen("libnvidia-ml.so.1", RTLD_NOW) else {
            throw Failure(.noServer, "there are no GPUs here: \(String(cString: dlerror()))")
        }
        self.handle = handle
        guard let initialise: @convention(c) () -> UInt32 = function("nvmlInit_v2") else {
            throw Failure(.noServer, "libnvidia-ml.so.1 is not a management library")
        }
        let code = initialise()
        guard code == 0 else { throw Failure(.noServer, "the management library does not start: \(text(of: code))") }
    }

    private func function<Function>(_ name: String) -> Function? {
        // SAFETY: each caller names the C type of NVML's public interface.
        dlsym(handle, name).map { unsafeBitCast($0, to: Function.self) }
    }

    private func text(of code: UInt32) -> String {
        let describe: (@convention(c) (UInt32) -> UnsafePointer<CChar>?)? = function("nvmlErrorString")
        return describe?(code).map { String(cString: $0) } ?? "error \(code)"
    }

    func devices() throws -> [(Device, index: Int)] {
        let count: (@convention(c) (UnsafeMutablePointer<UInt32>) -> UInt32)? = function("nvmlDeviceGetCount_v2")
        let find: (@convention(c) (UInt32, UnsafeMutablePointer<Device>) -> UInt32)? = function(
            "nvmlDeviceGetHandleByIndex_v2")
        var found: UInt32 = 0
        guard let count, let find, count(&found) == 0 else { throw Failure(.noServer, "the GPUs cannot be counted") }
        return (0..<found).compactMap { index in
            var device: Device = nil
            return find(index, &device) == 0 ? (device, Int(index)) : nil
        }
    }

    var driverVersion: String { systemText("nvmlSystemGetDriverVersion") ?? "N/A" }

    var cudaVersion: String {
        let ask: (@convention(c) (UnsafeMutablePointer<Int32>) -> UInt32)? = function(
            "nvmlSystemGetCudaDriverVersion_v2")
        var version: Int32 = 0
        guard let ask, ask(&version) == 0 else { return "N/A" }
        return "\(version / 1000).\(version % 1000 / 10)"
    }

    private func systemText(_ name: String) -> String? {
        let ask: (@convention(c) (UnsafeMutablePointer<CChar>, UInt32) -> UInt32)? = function(name)
        var buffer = [CChar](repeating: 0, count: 96)
        guard let ask, ask(&buffer, UInt32(buffer.count)) == 0 else { return nil }
        return ManagementLibrary.string(buffer)
    }

    func text(_ name: String, _ device: Device) -> String? {
        let ask: (@convention(c) (Device, UnsafeMutablePointer<CChar>, UInt32) -> UInt32)? = function(name)
        var buffer = [CChar](repeating: 0, count: 96)
        guard let ask, ask(device, &buffer, UInt32(buffer.count)) == 0 else { return nil }
        return ManagementLibrary.string(buffer)
    }

    func number(_ name: String, _ device: Device) -> Int? {
        let ask: (@convention(c) (Device, UnsafeMutablePointer<UInt32>) -> UInt32)? = function(name)
        // Room for the largest of the structures whose first number is wanted.
        var values = [UInt32](repeating: 0, count: 4)
        guard let ask, ask(device, &values) == 0 else { return nil }
        return Int(values[0])
    }

    /// NVML_TEMPERATURE_GPU is sensor 0.
    func temperature(_ device: Device) -> Int? {
        let ask: (@convention(c) (Device, UInt32, UnsafeMutablePointer<UInt32>) -> UInt32)? = function(
            "nvmlDeviceGetTemperature")
        var value: UInt32 = 0
        guard let ask, ask(device, 0, &value) == 0 else { return nil }
        return Int(value)
    }

    /// Total, free and used bytes.
    func memory(_ device: Device) -> (total: UInt64, used: UInt64)? {
        let ask: (@convention(c) (Device, UnsafeMutablePointer<UInt64>) -> UInt32)? = function(
            "nvmlDeviceGetMemoryInfo")
        var values = [UInt64](repeating: 0, count: 3)
        guard let ask, ask(device, &values) == 0 else { return nil }
        return (values[0], values[2])
    }

    /// The last 32 bytes of `nvmlPciInfo_t` are the address.
    func pciBusID(_ device: Device) -> String? {
        let ask: (@convention(c) (Device, UnsafeMutablePointer<UInt8>) -> UInt32)? = function(
            "nvmlDeviceGetPciInfo_v3")
        var bytes = [UInt8](repeating: 0, count: 68)
        guard let ask, ask(device, &bytes) == 0 else { return nil }
        return String(decoding: bytes.suffix(32).prefix { $0 != 0 }, as: UTF8.self)
    }

    private static func string(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// One GPU of the table; what the library does not tell is N/A.
private struct GPURow {
    let index: Int
    let name: String
    let uuid: String
    let busID: String
    let persistence: String
    let fan: String
    let temperature: String
    let performance: String
    let power: String
    let memory: String
    let utilization: String
    let computeMode: String

    init(_ library: ManagementLibrary, _ device: ManagementLibrary.Device, index: Int) {
        self.index = index
        name = library.text("nvmlDeviceGetName", device) ?? "N/A"
        uuid = library.text("nvmlDeviceGetUUID", device) ?? "N/A"
        busID = library.pciBusID(device) ?? "N/A"
        persistence = library.number("nvmlDeviceGetPersistenceMode", device).map { $0 == 0 ? "Off" : "On" } ?? "N/A"
        fan = library.number("nvmlDeviceGetFanSpeed", device).map { "\($0)%" } ?? "N/A"
        temperature = library.temperature(device).map { "\($0)C" } ?? "N/A"
        performance = library.number("nvmlDeviceGetPerformanceState", device).map { "P\($0)" } ?? "N/A"
        let watts = { (function: String) in library.number(function, device).map { "\($0 / 1000)W" } ?? "N/A" }
        power = "\(watts("nvmlDeviceGetPowerUsage")) / \(watts("nvmlDeviceGetEnforcedPowerLimit"))"
        memory =
            library.memory(device).map { memory in
                let total = String(memory.total >> 20)
                return "\(memory.used >> 20)MiB / \(String(repeating: " ", count: max(0, 5 - total.count)))\(total)MiB"
            } ?? "N/A"
        utilization = library.number("nvmlDeviceGetUtilizationRates", device).map { "\($0)%" } ?? "N/A"
        let modes = ["Default", "E. Thread", "Prohibited", "E. Process"]
        computeMode =
            library.number("nvmlDeviceGetComputeMode", device).flatMap { modes.indices.contains($0) ? modes[$0] : nil }
            ?? "N/A"
    }
}

/// The table, with nvidia-smi's columns.
private struct GPUTable {
    let driver: String
    let cuda: String
    let gpus: [GPURow]

    private static let widths = [41, 22, 22]

    var text: String {
        let rule = GPUTable.widths.map { String(repeating: "-", count: $0) }.joined(separator: "+")
        let whole = String(repeating: "-", count: 87)
        var lines = [
            "+\(whole)+",
            "| " + left("Bitfusion", 33) + left("Driver Version: \(driver)", 31) + left("CUDA Version: \(cuda)", 22)
                + "|",
            "|\(rule)|",
            row(
                left("GPU  Name", 26) + right("Persistence-M", 13), left("Bus-Id", 14) + right("Disp.A", 6),
                left("Volatile Uncorr. ECC", 20)),
            row(
                left("Fan  Temp   Perf", 20) + right("Pwr:Usage/Cap", 19), right("Memory-Usage", 20),
                left("GPU-Util  Compute M.", 20)),
            "|" + rule.replacing("-", with: "=") + "|",
        ]
        for gpu in gpus {
            lines.append(
                row(
                    right("\(gpu.index)", 3) + "  " + left(gpu.name, 26) + right(gpu.persistence, 8),
                    left(gpu.busID, 17) + "N/A", right("N/A", 20)))
            lines.append(
                row(
                    left(gpu.fan, 5) + left(gpu.temperature, 7) + left(gpu.performance, 8) + right(gpu.power, 19),
                    right(gpu.memory, 20), right(gpu.utilization, 8) + right(gpu.computeMode, 12)))
            lines.append("+\(rule)+")
        }
        return lines.joined(separator: "\n")
    }

    private func row(_ cells: String...) -> String {
        "|" + zip(cells, GPUTable.widths).map { " " + left($0, $1 - 1) }.joined(separator: "|") + "|"
    }

    private func left(_ text: String, _ width: Int) -> String {
        text.count >= width ? String(text.prefix(width)) : text + String(repeating: " ", count: width - text.count)
    }

    private func right(_ text: String, _ width: Int) -> String {
        text.count >= width ? String(text.prefix(width)) : String(repeating: " ", count: width - text.count) + text
    }
}

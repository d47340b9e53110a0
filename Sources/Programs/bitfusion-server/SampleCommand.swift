// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CNVML
import FoundationEssentials
import Glibc
import Health
import HostManagement
import Management
import Pool

/// Prints what the management library tells of all GPUs, as JSON: once, or for each line that it reads.
struct SampleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sample", abstract: "Print the state of the GPUs as JSON.")

    @Option(help: "The libcuda.so.1 whose management library is asked.")
    var driver = "libcuda.so.1"

    @Flag(help: "Print a line for each line of the standard input, until its end.")
    var watch = false

    @Flag(help: "Print once what the health checks read.")
    var health = false

    @Flag(help: "The driver is that of software GPUs.")
    var software = false

    func run() throws {
        if health {
            let readings = GPUReadings(driver: driver, isSoftware: software)
            return print(String(decoding: try JSONEncoder().encode(readings), as: UTF8.self))
        }
        let management: HostManagement
        do throws(ManagementFailure) {
            management = try HostManagement(path: HostManagement.path(beside: driver))
        } catch {
            writeError("bitfusion: \(error)\n")
            throw ExitCode(1)
        }
        repeat {
            if watch { guard readLine() != nil else { return } }
            print(String(decoding: try JSONEncoder().encode(ManagementSample(management)), as: UTF8.self))
            fflush(nil)
        } while watch
    }
}

/// The state of all GPUs at one moment.
struct ManagementSample: Codable {
    /// The driver's version in words.
    var driver: String?
    var gpus: [GPUStatus]

    init(_ source: some ManagementSource) {
        driver = source.text(.nvmlSystemGetDriverVersion)
        let count = source.numbers(.nvmlDeviceGetCount_v2)?.first ?? 0
        gpus = (0..<count).map { ManagementSample.status(of: $0, source) }
    }

    private static func status(of device: UInt32, _ source: some ManagementSource) -> GPUStatus {
        let memory = source.memory(device)
        var status = GPUStatus(
            GPU(
                index: Int(device), name: source.text(.nvmlDeviceGetName, device) ?? "",
                uuid: source.text(.nvmlDeviceGetUUID, device) ?? "",
                totalMiB: Int((memory?.total ?? 0) >> 20), pciBusID: source.pciBusID(device) ?? ""),
            allocatedMiB: 0)
        let one = { (call: ManagementCall) in source.numbers(call, device)?.first.map { Int($0) } }
        status.usedMiB = memory.map { Int($0.used >> 20) }
        status.isPersistent = one(.nvmlDeviceGetPersistenceMode).map { $0 != 0 }
        status.fanPercent = one(.nvmlDeviceGetFanSpeed)
        // NVML_TEMPERATURE_GPU is sensor 0.
        status.temperatureCelsius = source.numbers(.nvmlDeviceGetTemperature, device, 0)?.first.map { Int($0) }
        // 32 is NVML_PSTATE_UNKNOWN.
        status.performanceState = one(.nvmlDeviceGetPerformanceState).flatMap { $0 < 32 ? $0 : nil }
        status.powerMilliwatts = one(.nvmlDeviceGetPowerUsage)
        status.powerLimitMilliwatts = one(.nvmlDeviceGetEnforcedPowerLimit)
        status.utilizationPercent = one(.nvmlDeviceGetUtilizationRates)
        // NVML_MEMORY_ERROR_TYPE_UNCORRECTED is 1, NVML_VOLATILE_ECC is 0.
        status.uncorrectedErrors = source.number64(.nvmlDeviceGetTotalEccErrors, device, 1, 0).map { Int(clamping: $0) }
        let modes = ["Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process"]
        status.computeMode = one(.nvmlDeviceGetComputeMode).flatMap { modes.indices.contains($0) ? modes[$0] : nil }
        return status
    }
}

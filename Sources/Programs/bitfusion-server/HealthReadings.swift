// SPDX-License-Identifier: Apache-2.0
import CNVML
import Health
import HostManagement
import Management

/// Asks the libraries of a driver what the health checks want to know.
extension GPUReadings {
    /// `isSoftware`: the driver is that of software GPUs, which has fewer libraries.
    init(driver: String, isSoftware: Bool) {
        let path = HostManagement.path(beside: driver)
        var libraries = [
            LibraryReading(opening: driver, symbols: ["cuInit", "cuDriverGetVersion", "cuGetProcAddress_v2"]),
            LibraryReading(opening: path, symbols: ["nvmlInit_v2", "nvmlDeviceGetCount_v2"]),
        ]
        if !isSoftware { libraries.append(LibraryReading(opening: "libnvidia-ptxjitcompiler.so.1")) }
        libraries += LibraryReading.ofRDMA(SystemFiles())
        do throws(ManagementFailure) {
            self.init(try HostManagement(path: path), libraries)
        } catch {
            self.init(
                problem: Problem(message: error.message, code: error.code),
                driverVersion: .code(NVMLCode.uninitialized), cudaVersion: .code(NVMLCode.uninitialized), gpus: [],
                pairs: [], libraries: libraries)
        }
    }

    private init(_ source: some ManagementSource, _ libraries: [LibraryReading]) {
        let count = source.numbers(.nvmlDeviceGetCount_v2)?.first ?? 0
        var pairs: [GPUPairReading] = []
        for first in 0..<count {
            for second in (first + 1)..<max(count, first + 1) {
                pairs.append(
                    GPUPairReading(
                        // NVML_P2P_CAPS_INDEX_READ and _WRITE.
                        first: Int(first), second: Int(second),
                        read: source.reading(.nvmlDeviceGetP2PStatus, first, second, 0) { Int($0) },
                        write: source.reading(.nvmlDeviceGetP2PStatus, first, second, 1) { Int($0) },
                        ancestor: source.reading(.nvmlDeviceGetTopologyCommonAncestor, first, second) { Int($0) }))
            }
        }
        self.init(
            driverVersion: source.textReading(.nvmlSystemGetDriverVersion),
            cudaVersion: source.reading(.nvmlSystemGetCudaDriverVersion_v2) { Int($0) },
            gpus: (0..<count).map { GPUReading($0, source) }, pairs: pairs, libraries: libraries)
    }
}

extension GPUReading {
    fileprivate init(_ device: UInt32, _ source: some ManagementSource) {
        self.init(
            index: Int(device), name: source.text(.nvmlDeviceGetName, device) ?? "",
            uuid: source.text(.nvmlDeviceGetUUID, device) ?? "", pciBusID: source.pciBusID(device) ?? "")
        computeMode = source.reading(.nvmlDeviceGetComputeMode, device) { Int($0) }
        isDivided = source.reading(.nvmlDeviceGetMigMode, device) { $0 != 0 }
        isPersistent = source.reading(.nvmlDeviceGetPersistenceMode, device) { $0 != 0 }
        hasECC = source.reading(.nvmlDeviceGetEccMode, device) { $0 != 0 }
        // NVML_MEMORY_ERROR_TYPE_CORRECTED is 0, _UNCORRECTED 1, NVML_VOLATILE_ECC 0.
        correctedErrors = source.reading64(.nvmlDeviceGetTotalEccErrors, device, 0, 0)
        uncorrectedErrors = source.reading64(.nvmlDeviceGetTotalEccErrors, device, 1, 0)
        remappedRows = source.remappedRows(device)
        isRetirementPending = source.reading(.nvmlDeviceGetRetiredPagesPendingStatus, device) { $0 != 0 }
        // NVML_TEMPERATURE_GPU is sensor 0, NVML_TEMPERATURE_THRESHOLD_SLOWDOWN is 1.
        celsius = source.reading(.nvmlDeviceGetTemperature, device, 0) { Int($0) }
        slowdownCelsius = source.reading(.nvmlDeviceGetTemperatureThreshold, device, 1) { Int($0) }
        utilizationPercent = source.reading(.nvmlDeviceGetUtilizationRates, device) { Int($0) }
        let answer = source.memoryAnswer(device)
        memory =
            answer.memory.map {
                .value(Memory(total: $0.total, reserved: $0.reserved, free: $0.free, used: $0.used))
            } ?? .code(answer.status)
        powerMilliwatts = source.reading(.nvmlDeviceGetPowerUsage, device) { Int($0) }
        performanceState = source.reading(.nvmlDeviceGetPerformanceState, device) { Int($0) }
        clockReasons = source.reading64(.nvmlDeviceGetCurrentClocksEventReasons, device)
        if case .code(NVMLResult.functionNotFound) = clockReasons {
            // As libraries before 535 call it.
            clockReasons = source.reading64(.nvmlDeviceGetCurrentClocksThrottleReasons, device)
        }
        processes = source.processes(device)
        linkWidth = source.reading(.nvmlDeviceGetCurrPcieLinkWidth, device) { Int($0) }
        linkWidthMax = source.reading(.nvmlDeviceGetMaxPcieLinkWidth, device) { Int($0) }
        linkReplays = source.reading(.nvmlDeviceGetPcieReplayCounter, device) { UInt64($0) }
    }
}

extension ManagementSource {
    /// The first `UInt32` that a call returns.
    fileprivate func reading<Value>(
        _ call: ManagementCall, _ arguments: UInt32..., value: (UInt32) -> Value
    ) -> Reading<Value> {
        reading(ask(call, arguments)) { reader throws(MalformedQuestion) in value(try reader.value(UInt32.self)) }
    }

    fileprivate func reading64(_ call: ManagementCall, _ arguments: UInt32...) -> Reading<UInt64> {
        reading(ask(call, arguments)) { reader throws(MalformedQuestion) in try reader.value(UInt64.self) }
    }

    fileprivate func textReading(_ call: ManagementCall) -> Reading<String> {
        reading(ask(call, [256])) { reader throws(MalformedQuestion) in try reader.text() }
    }

    fileprivate func remappedRows(_ device: UInt32) -> Reading<GPUReading.RemappedRows> {
        reading(ask(.nvmlDeviceGetRemappedRows, [device])) { reader throws(MalformedQuestion) in
            GPUReading.RemappedRows(
                corrected: try reader.value(UInt32.self), uncorrected: try reader.value(UInt32.self),
                isPending: try reader.value(UInt32.self) != 0, hasFailed: try reader.value(UInt32.self) != 0)
        }
    }

    fileprivate func processes(_ device: UInt32) -> Reading<[UInt32]> {
        // Room for more than a worker for each of the most processes of an allocation.
        let room: UInt32 = 1_024
        // The process, its memory, and two numbers of the parts of a divided GPU.
        let entryBytes = 24
        return reading(ask(.nvmlDeviceGetComputeRunningProcesses_v3, [device, room])) {
            reader throws(MalformedQuestion) in
            let count = try reader.value(UInt32.self)
            guard count <= room else { throw MalformedQuestion() }
            var processes: [UInt32] = []
            for _ in 0..<count {
                processes.append(try reader.value(UInt32.self))
                _ = try reader.bytes(entryBytes - 4)
            }
            return processes
        }
    }

    private func reading<Value>(
        _ answer: ManagementAnswer, _ read: (inout ValueReader) throws(MalformedQuestion) -> Value
    ) -> Reading<Value> {
        guard answer.status == NVMLCode.success else { return .code(answer.status) }
        var reader = ValueReader(answer.bytes)
        do throws(MalformedQuestion) { return .value(try read(&reader)) } catch { return .code(NVMLCode.unknown) }
    }
}

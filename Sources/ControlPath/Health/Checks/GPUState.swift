// SPDX-License-Identifier: Apache-2.0
import Pool

/// Whether the GPUs of a server are well, as its management library says.
enum GPUChecks {
    static let all = [computeMode, ecc, temperature, statistics]

    // MARK: HC-05

    static let computeMode = HealthCheck(
        "HC-05", "compute_mode", .stability, on: [.server], source: "nvmlDeviceGetComputeMode",
        threshold: "Default; fatal when Prohibited", remedy: "nvidia-smi -c DEFAULT"
    ) { sources throws(SourceFailure) in
        try sources.judgeGPUs { gpu throws(SourceFailure) in
            switch try gpu.computeMode.known("the compute mode") {
            case nil: .skipped("it has no compute modes")
            case 0: .pass("Default", value: "Default")
            case 2: .fatal("no program may compute", value: "Prohibited")
            case 3: .marginal("only one program at a time", value: "Exclusive_Process")
            case .some(let mode): .marginal("compute mode \(mode)", value: "\(mode)")
            }
        }
    }

    // MARK: HC-07

    static let ecc = HealthCheck(
        "HC-07", "ecc", .stability, on: [.server],
        source: "nvmlDeviceGetEccMode, GetTotalEccErrors, GetRemappedRows, GetRetiredPagesPendingStatus",
        threshold:
            "ECC on, no uncorrected error, corrected ones do not grow, no row remapped or pending; fatal with an "
            + "uncorrected error since the driver was loaded, or when remapping fails",
        remedy: "drain the server and reset the GPU (nvidia-smi -r); replace it when errors come again"
    ) { sources throws(SourceFailure) in
        try sources.judgeGPUs { gpu throws(SourceFailure) in try judgeECC(gpu, sources.history) }
    }

    private static func judgeECC(
        _ gpu: GPUReading, _ history: any CounterHistory
    ) throws(SourceFailure) -> Finding {
        guard let isOn = try gpu.hasECC.known("the mode of ECC") else {
            return .skipped("its memory does not correct errors")
        }
        guard isOn else { return .marginal("ECC is off", remedy: "nvidia-smi -e 1, and reset the GPU") }
        var parts: [Finding] = []
        let uncorrected = try gpu.uncorrectedErrors.known("uncorrected errors") ?? 0
        if uncorrected > 0 { parts.append(.fatal("\(uncorrected) uncorrected errors")) }
        let rows = try gpu.remappedRows.known("remapped rows")
        if let rows {
            if rows.hasFailed { parts.append(.fatal("a row could not be remapped", remedy: "replace the GPU")) }
            if rows.isPending { parts.append(.marginal("a row waits to be remapped")) }
            let count = rows.corrected + rows.uncorrected
            if count > 0 {
                parts.append(.marginal("\(count) rows are remapped", remedy: "watch it; rows are remapped once"))
            }
        }
        if try gpu.isRetirementPending.known("retired pages") == true {
            parts.append(.marginal("a page waits to be retired"))
        }
        let corrected = try gpu.correctedErrors.known("corrected errors") ?? 0
        let growth = try history.growth(["corrected": corrected], of: "ecc.\(gpu.uuid)")?["corrected"] ?? 0
        if growth > 0 { parts.append(.marginal("\(growth) more corrected errors")) }
        var finding = parts.isEmpty ? Finding.pass("\(corrected) corrected errors, none uncorrected") : .of(parts)
        finding.value = "\(uncorrected) uncorrected"
        return finding
    }

    // MARK: HC-11

    static let celsiusMax = 100
    static let celsiusWarm = 90
    /// Degrees below the temperature at which the GPU slows itself down.
    static let celsiusReserve = 5

    static let temperature = HealthCheck(
        "HC-11", "temperature", .stability, on: [.server],
        source: "nvmlDeviceGetTemperature, GetTemperatureThreshold(SLOWDOWN)",
        threshold: "< 90 C and 5 C below the slowdown; fatal from 100 C or the slowdown on",
        remedy: "look after the fans, the air and the power limit (nvidia-smi -q -d TEMPERATURE)"
    ) { sources throws(SourceFailure) in
        try sources.judgeGPUs { gpu throws(SourceFailure) in
            guard let celsius = try gpu.celsius.known("the temperature") else {
                return .skipped("it has no thermometer")
            }
            let slowdown = try gpu.slowdownCelsius.known("the slowdown temperature")
            let detail = "\(celsius) C" + (slowdown.map { ", slows down at \($0) C" } ?? "")
            if celsius >= min(celsiusMax, slowdown ?? celsiusMax) { return .fatal(detail, value: "\(celsius) C") }
            let warm = min(celsiusWarm, slowdown.map { $0 - celsiusReserve } ?? celsiusWarm)
            return celsius < warm ? .pass(detail, value: "\(celsius) C") : .marginal(detail, value: "\(celsius) C")
        }
    }

    // MARK: HC-19

    /// `nvmlClocksEventReason...`: hardware slowdown, thermal slowdown, power brake.
    private static let hardwareSlowdown: UInt64 = 0x8 | 0x40 | 0x80
    /// The software's power cap and thermal slowdown.
    private static let softwareSlowdown: UInt64 = 0x4 | 0x20

    static let statistics = HealthCheck(
        "HC-19", "nvidia_stats", .performance, on: [.server],
        source: "nvmlDeviceGetUtilizationRates, GetMemoryInfo_v2, GetPowerUsage, GetPerformanceState, "
            + "GetCurrentClocksEventReasons, GetComputeRunningProcesses_v3, GetPersistenceMode",
        threshold:
            "all can be read, no slowdown, no processes of others, persistence mode on; fatal with a hardware slowdown "
            + "or a lost GPU",
        remedy: "nvidia-smi -q -d PERFORMANCE tells the reason; nvidia-smi -pm 1 sets the persistence mode"
    ) { sources throws(SourceFailure) in
        try sources.judgeGPUs { gpu throws(SourceFailure) in try judgeStatistics(gpu, sources) }
    }

    private static func judgeStatistics(_ gpu: GPUReading, _ sources: HealthSources) throws(SourceFailure) -> Finding {
        let isLost = [
            gpu.utilizationPercent.isOfLostGPU, gpu.memory.isOfLostGPU, gpu.powerMilliwatts.isOfLostGPU,
            gpu.performanceState.isOfLostGPU, gpu.clockReasons.isOfLostGPU, gpu.processes.isOfLostGPU,
        ].contains(true)
        if isLost {
            return .fatal("the GPU is lost", remedy: "look for Xid messages in dmesg and start the machine again")
        }
        let busy = try gpu.utilizationPercent.known("utilisation")
        _ = try gpu.powerMilliwatts.known("power")
        _ = try gpu.performanceState.known("the performance state")
        guard let memory = try gpu.memory.known("memory") else { throw SourceFailure("its memory is not told") }
        var parts: [Finding] = []
        // Each figure may be rounded to a MiB of its own.
        let sum = memory.used + memory.free + memory.reserved
        if max(sum, memory.total) - min(sum, memory.total) > 4 << 20 {
            parts.append(.marginal("used, free and reserved memory do not add up to all of it"))
        }
        let reasons = try gpu.clockReasons.known("the clocks' event reasons") ?? 0
        if reasons & hardwareSlowdown != 0 {
            parts.append(.fatal("the hardware slows it down", remedy: "look after its power supply and its cooling"))
        } else if reasons & softwareSlowdown != 0 {
            parts.append(.marginal("it is slowed down by its power cap or its temperature"))
        }
        let strangers = try (gpu.processes.known("its processes") ?? []).filter { !sources.isOurs($0) }
        if !strangers.isEmpty {
            parts.append(
                .marginal(
                    "processes of others use it: \(listed(strangers.map(String.init)))",
                    remedy: "end them: their memory is not free, as the pool believes"))
        }
        if !sources.isSoftware, try gpu.isPersistent.known("the persistence mode") == false {
            parts.append(.marginal("persistence mode is off", remedy: "nvidia-smi -pm 1"))
        }
        if parts.isEmpty { parts = [.pass(busy.map { "\($0) % busy" } ?? "readable", value: busy.map { "\($0) %" })] }
        return .of(parts)
    }
}

extension HealthSources {
    /// What the management library said.
    func readings() throws(SourceFailure) -> GPUReadings {
        let readings = try management.get()
        if let problem = readings.problem { throw SourceFailure(problem.message) }
        guard !readings.gpus.isEmpty else { throw SourceFailure("the management library lists no GPU") }
        return readings
    }

    /// Judges every GPU, each by itself.
    func judgeGPUs(_ judge: (GPUReading) throws(SourceFailure) -> Finding) throws(SourceFailure) -> Finding {
        let gpus = try readings().gpus
        let findings = gpus.map { gpu in
            Finding.attempt { () throws(SourceFailure) in try judge(gpu) }.about("GPU \(gpu.index)")
        }
        return .of(findings)
    }

    /// Whether a process is the daemon or was started by it.
    func isOurs(_ pid: UInt32) -> Bool {
        guard let daemon else { return false }
        var next = Int(pid)
        // Workers are the daemon's children, and not far below.
        for _ in 0..<8 {
            if next == daemon { return true }
            // The name in parentheses may contain anything; the state and the parent follow the last one.
            guard let text = try? files.text("/proc/\(next)/stat"), let end = text.lastIndex(of: ")"),
                case let words = text[text.index(after: end)...].split(separator: " "), words.count > 1,
                let parent = Int(words[1]), parent > 1
            else { return false }
            next = parent
        }
        return false
    }
}

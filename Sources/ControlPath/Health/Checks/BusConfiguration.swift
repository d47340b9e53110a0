// SPDX-License-Identifier: Apache-2.0
import Pool

/// HC-25: whether the firmware and the kernel have set the GPUs up on the bus.
enum BusConfigurationChecks {
    static let all = [configuration]

    static let configuration = HealthCheck(
        "HC-25", "pciinfo", .systemResources, on: [.server],
        source: "resource, enable, power_state, config and aer_dev_* of every GPU below /sys/bus/pci/devices",
        threshold:
            "memory regions assigned, enabled, bus master, awake, correctable errors do not grow; fatal when not "
            + "assigned or disabled, or with an uncorrectable error",
        remedy: "switch `above 4G decoding` and resizable BARs on in the firmware; look at dmesg for AER messages",
        judge: judgeConfiguration)

    @Sendable private static func judgeConfiguration(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        guard !sources.isSoftware else { return .skipped(BusChecks.softwareReason) }
        return try sources.judgeGPUs { gpu throws(SourceFailure) in try judgeConfiguration(gpu, sources) }
    }

    private static func judgeConfiguration(
        _ gpu: GPUReading, _ sources: HealthSources
    ) throws(SourceFailure) -> Finding {
        let files = sources.files
        let folder = "\(BusChecks.devices)/\(gpu.kernelAddress)"
        let regions = try files.lines("\(folder)/resource").map { line in
            line.split(separator: " ").map { UInt64($0.dropFirst(2), radix: 16) ?? 0 }
        }
        guard regions.count > 1, regions.allSatisfy({ $0.count == 3 }) else {
            throw SourceFailure("\(folder)/resource is not understood")
        }
        var parts: [Finding] = []
        // Region 0 has the registers, region 1 the window onto the memory.
        for region in 0...1 where regions[region][1] <= regions[region][0] {
            parts.append(.fatal("its memory region \(region) is not assigned"))
        }
        if try files.number("\(folder)/enable") == 0 { parts.append(.fatal("it is disabled")) }
        let configuration = try files.bytes("\(folder)/config")
        guard configuration.count > 5 else { throw SourceFailure("\(folder)/config is too short") }
        // The second bit of the command register.
        if configuration[4] & 0x4 == 0 { parts.append(.fatal("it is not a bus master")) }
        if let state = try? files.text("\(folder)/power_state"), state != "D0", state != "unknown" {
            parts.append(.marginal("it sleeps (\(state))"))
        }
        let window = regions[1][1] - min(regions[1][0], regions[1][1]) + 1
        if files.has("\(folder)/resource1_resize"), let memory = try gpu.memory.known("memory"), window < memory.total {
            parts.append(.marginal("its window is \(gibibytes(window)), and could be as large as its memory"))
        }
        for kind in ["fatal", "nonfatal"] {
            if let count = try errors(kind, folder, files), count > 0 {
                parts.append(.fatal("\(count) \(kind) errors"))
            }
        }
        if let count = try errors("correctable", folder, files) {
            let growth = try sources.history.growth(["correctable": count], of: "aer.\(gpu.uuid)")?["correctable"] ?? 0
            if growth > 0 { parts.append(.marginal("\(growth) more correctable errors")) }
        }
        return parts.isEmpty ? .pass("assigned, enabled, no errors") : .of(parts)
    }

    /// The errors that the device has reported; nil where it reports none.
    private static func errors(
        _ kind: String, _ folder: String, _ files: any FileTree
    ) throws(SourceFailure) -> UInt64? {
        let path = "\(folder)/aer_dev_\(kind)"
        guard files.has(path) else { return nil }
        guard let total = try files.lines(path).first(where: { $0.hasPrefix("TOTAL_") })?.split(separator: " ").last,
            let count = UInt64(total)
        else { throw SourceFailure("\(path) is not understood") }
        return count
    }
}

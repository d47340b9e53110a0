// SPDX-License-Identifier: Apache-2.0
import Pool

/// Whether this machine is fast and large enough.
enum MachineChecks {
    static let all = [bogomips, hostmem, shadowMemory]

    // MARK: HC-14

    static let bogomipsMin = 2_000.0
    static let bogomipsWanted = 4_000.0
    /// Drivers whose governor `powersave` raises the clock under load all the same.
    private static let selfScaling: Set = ["intel_pstate", "amd-pstate-epp"]

    static let bogomips = HealthCheck(
        "HC-14", "bogomips", .performance, source: "/proc/cpuinfo, scaling_governor of every CPU",
        threshold: ">= 4000 on every CPU, governor not powersave; fatal below 2000",
        remedy: "move to a faster machine, or give this one whole CPUs; set the governor to performance",
        judge: judgeBogomips)

    @Sendable private static func judgeBogomips(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let lines = try sources.files.lines("/proc/cpuinfo")
        // ARM's counts a timer's ticks.
        if lines.contains(where: { $0.hasPrefix("BogoMIPS") }) {
            return .skipped("on this processor bogomips says nothing about its speed")
        }
        let rates = lines.filter { $0.hasPrefix("bogomips") }.compactMap { line in
            line.firstIndex(of: ":").flatMap { Double(line[line.index(after: $0)...].drop { $0 == " " }) }
        }
        guard let slowest = rates.min() else { throw SourceFailure("/proc/cpuinfo tells no bogomips") }
        let value = "\(Int(slowest))"
        let detail = "the slowest of \(rates.count) CPUs has \(value) bogomips"
        if slowest < bogomipsMin { return .fatal(detail, value: value) }
        if slowest < bogomipsWanted { return .marginal(detail, value: value) }
        let saving = powersavingCPUs(sources.files)
        guard saving.isEmpty else {
            return .marginal(
                "\(detail), but \(listed(saving)) run with the governor powersave", value: value,
                remedy: "cpupower frequency-set -g performance")
        }
        return .pass(detail, value: value)
    }

    private static func powersavingCPUs(_ files: any FileTree) -> [String] {
        let folder = "/sys/devices/system/cpu"
        let names = (try? files.names(in: folder)) ?? []
        return names.filter { name in
            guard name.hasPrefix("cpu"), Int(name.dropFirst(3)) != nil,
                (try? files.text("\(folder)/\(name)/cpufreq/scaling_governor")) == "powersave"
            else { return false }
            return !selfScaling.contains((try? files.text("\(folder)/\(name)/cpufreq/scaling_driver")) ?? "")
        }
    }

    // MARK: HC-15

    /// What a client's own programs and the copies to and from servers need.
    static let clientBytesWanted = 4 * gibibyte
    static let availableBytesMin = 2 * gibibyte

    static let hostmem = HealthCheck(
        "HC-15", "hostmem", .performance, source: "/proc/meminfo, /sys/fs/cgroup/memory.max",
        threshold: "server: >= 1.5 x the GPUs' memory, fatal below 1.0 x; client: >= 4 GiB; "
            + ">= 10 % available, fatal below 2 GiB available",
        remedy: "give the machine more memory, or end what uses it", judge: judgeHostMemory)

    @Sendable private static func judgeHostMemory(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let memory = try HostMemory(sources.files)
        let available =
            "\(gibibytes(memory.availableBytes)) of \(gibibytes(memory.totalBytes)) are available"
        var parts: [Finding] = []
        if memory.availableBytes < availableBytesMin {
            parts.append(.fatal(available))
        } else if memory.availableBytes < memory.totalBytes / 10 {
            parts.append(.marginal(available))
        }
        switch sources.role {
        case .server:
            let gpus = try sources.gpuBytes()
            let detail =
                "\(gibibytes(memory.totalBytes)) for \(gibibytes(gpus)) on the GPUs, "
                + "\(gibibytes(memory.availableBytes)) available"
            if memory.totalBytes < gpus {
                parts.append(.fatal(detail))
            } else if memory.totalBytes < gpus + gpus / 2 {
                parts.append(.marginal(detail))
            } else if parts.isEmpty {
                parts.append(.pass(detail))
            }
        case .client:
            if memory.totalBytes < clientBytesWanted {
                parts.append(.marginal("only \(gibibytes(memory.totalBytes)) of memory"))
            } else if parts.isEmpty {
                parts.append(.pass(available))
            }
        }
        var finding = Finding.of(parts)
        finding.value = gibibytes(memory.totalBytes)
        return finding
    }

    // MARK: HC-26

    static let shadowMemory = HealthCheck(
        "HC-26", "shadow_mem", .systemResources, source: "/proc/meminfo; the servers' lists of GPUs",
        threshold: "memory >= that of the GPUs: a server's own, fatal below; on a client all that it may be given",
        remedy: "give the machine as much memory as its GPUs have; programs that pin much memory need it",
        judge: judgeShadowMemory)

    @Sendable private static func judgeShadowMemory(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let memory = try HostMemory(sources.files)
        let gpus: UInt64
        switch sources.role {
        case .server: gpus = try sources.gpuBytes()
        case .client:
            let answers = try sources.answers()
            guard !answers.isEmpty else { throw SourceFailure("no server has told the memory of its GPUs") }
            gpus = answers.flatMap(\.answer.gpuMiB).reduce(0) { $0 + UInt64($1) << 20 }
        }
        let value = gibibytes(memory.totalBytes)
        let detail = "\(value) of memory, \(gibibytes(gpus)) on the GPUs"
        if memory.totalBytes >= gpus { return .pass(detail, value: value) }
        return sources.role == .server ? .fatal(detail, value: value) : .marginal(detail, value: value)
    }
}

/// The memory of this machine, or of the container that it is.
struct HostMemory {
    let totalBytes: UInt64
    let availableBytes: UInt64

    init(_ files: any FileTree) throws(SourceFailure) {
        let lines = try files.lines("/proc/meminfo")
        func entry(_ name: String) throws(SourceFailure) -> UInt64 {
            let words = lines.first { $0.hasPrefix("\(name):") }?.split(separator: " ") ?? []
            guard words.count >= 2, let kibibytes = UInt64(words[1]) else {
                throw SourceFailure("/proc/meminfo has no \(name)")
            }
            return kibibytes << 10
        }
        let total = try entry("MemTotal")
        // There is none in the root group, and the word `max` where there is no limit.
        let limit = (try? files.text("/sys/fs/cgroup/memory.max")).flatMap { UInt64($0) }
        totalBytes = min(total, limit ?? total)
        availableBytes = min(try entry("MemAvailable"), totalBytes)
    }
}

extension HealthSources {
    /// The memory of the server's GPUs.
    func gpuBytes() throws(SourceFailure) -> UInt64 {
        try inventory.get().gpus.reduce(0) { $0 + UInt64($1.totalMiB) << 20 }
    }

    /// The servers that have answered.
    func answers() throws(SourceFailure) -> [(address: String, answer: ServerReading.Answer)] {
        try servers.get().compactMap { reading in
            (try? reading.answer.get()).map { (reading.address, $0) }
        }
    }
}

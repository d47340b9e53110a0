// SPDX-License-Identifier: Apache-2.0
import Pool

/// Whether the GPUs of a server are connected well: the bus, as the kernel and the management library see it.
enum BusChecks {
    static let all = [enumeration, peers, topology, linkWidth]
    static let devices = "/sys/bus/pci/devices"
    static let softwareReason = "software GPUs are not on a bus"

    // MARK: HC-09

    static let enumeration = HealthCheck(
        "HC-09", "pci_nvml", .stability, on: [.server],
        source: "/sys/bus/pci/devices/*/vendor, class and driver; nvmlDeviceGetPciInfo_v3",
        threshold: "the same GPUs on the bus and in NVML, all with NVIDIA's driver; fatal when one is missing",
        remedy: "look at dmesg for what the driver says of the GPU, and start the machine again",
        judge: judgeEnumeration)

    @Sendable private static func judgeEnumeration(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        guard !sources.isSoftware else { return .skipped(softwareReason) }
        let management = try sources.management.get()
        if let problem = management.problem {
            guard problem.code == NVMLResult.gpuIsLost || problem.code == NVMLResult.driverNotLoaded else {
                throw SourceFailure(problem.message)
            }
            return .fatal(problem.message)
        }
        let files = sources.files
        let onBus = try files.names(in: devices).filter { address in
            guard (try? files.text("\(devices)/\(address)/vendor")) == "0x10de",
                let kind = try? files.text("\(devices)/\(address)/class")
            else { return false }
            return kind.hasPrefix("0x0300") || kind.hasPrefix("0x0302")
        }
        let others = onBus.compactMap { address -> String? in
            let driver = (try? files.target(of: "\(devices)/\(address)/driver"))?.split(separator: "/").last
            return driver == "nvidia" ? nil : "\(address) is bound to \(driver ?? "no driver")"
        }
        let known = Set(management.gpus.map(\.kernelAddress))
        let ours = onBus.filter { address in !others.contains { $0.hasPrefix(address) } }
        let missing = ours.filter { !known.contains($0) } + known.subtracting(onBus).sorted()
        let value = "\(management.gpus.count) of \(ours.count)"
        if !missing.isEmpty {
            return .fatal("only the bus or only the library has \(listed(missing))", value: value)
        }
        if management.gpus.contains(where: { $0.memory.isOfLostGPU || $0.celsius.isOfLostGPU }) {
            return .fatal("a GPU is lost", value: value)
        }
        if !others.isEmpty {
            return .marginal(
                "not served: \(listed(others))", value: value, remedy: "bind them to nvidia to serve them too")
        }
        return .pass("\(value) GPUs are known to the driver", value: value)
    }

    // MARK: HC-10

    /// NVML's level of two GPUs below PCIe switches only.
    private static let switchesOnly = 20
    /// Products whose driver does not offer it.
    private static let consumerNames = ["GeForce", "TITAN"]

    static let peers = HealthCheck(
        "HC-10", "pci_p2p", .stability, on: [.server],
        source: "nvmlDeviceGetP2PStatus, GetTopologyCommonAncestor of every pair",
        threshold: "every pair reaches each other's memory; fatal when the library fails, or below one PCIe switch",
        remedy: "switch ACS off on the bridges above the GPUs, and the IOMMU to passthrough (iommu=pt)",
        judge: judgePeers)

    @Sendable private static func judgePeers(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        guard !sources.isSoftware else { return .skipped(softwareReason) }
        let readings = try sources.readings()
        guard readings.gpus.count > 1 else { return .skipped("there is only one GPU") }
        guard !readings.pairs.isEmpty else { throw SourceFailure("the management library tells nothing of pairs") }
        var parts: [Finding] = []
        for pair in readings.pairs {
            let name = "GPUs \(pair.first) and \(pair.second)"
            guard case .value(let read) = pair.read, case .value(let write) = pair.write else {
                parts.append(.fatal("\(name): the library fails to tell"))
                continue
            }
            guard read != 0 || write != 0 else { continue }
            var isBelowSwitch = false
            if case .value(let level) = pair.ancestor { isBelowSwitch = level <= switchesOnly }
            let names = readings.gpus.filter { $0.index == pair.first || $0.index == pair.second }.map(\.name)
            let isConsumer = names.contains { name in consumerNames.contains { name.contains($0) } }
            let detail = "\(name) do not reach each other's memory (status \(max(read, write)))"
            parts.append(
                isBelowSwitch && !isConsumer ? .fatal(detail) : .marginal(detail))
        }
        let bad = parts.count
        var finding = parts.isEmpty ? Finding.pass("all \(readings.pairs.count) pairs reach each other") : .of(parts)
        if bad > 4 {
            finding.detail =
                "\(bad) of \(readings.pairs.count) pairs do not reach each other, first: \(parts[0].detail)"
        }
        finding.value = "\(readings.pairs.count - bad) of \(readings.pairs.count)"
        return finding
    }

    // MARK: HC-20

    static let topology = HealthCheck(
        "HC-20", "nvidia_topo", .performance, on: [.server],
        source: "numa_node and local_cpulist of GPUs and interfaces, /sys/devices/system/node, /proc/PID/status",
        threshold: "GPUs, network and daemon on one NUMA node; fatal when a GPU has no CPUs",
        remedy: "put the network card into a slot of the GPUs' socket; do not pin the daemon (taskset, cpuset)",
        judge: judgeTopology)

    @Sendable private static func judgeTopology(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        guard !sources.isSoftware else { return .skipped(softwareReason) }
        let files = sources.files
        let gpus = try sources.readings().gpus
        let nodes = try files.names(in: "/sys/devices/system/node").filter {
            $0.hasPrefix("node") && Int($0.dropFirst(4)) != nil
        }
        let allowed = try allowedCPUs(of: sources.daemon, files)
        var parts: [Finding] = []
        var gpuNodes: Set<Int> = []
        for gpu in gpus {
            let folder = "\(devices)/\(gpu.kernelAddress)"
            let near = cpuSet(try files.text("\(folder)/local_cpulist"))
            if near.isEmpty { parts.append(.fatal("GPU \(gpu.index) has no CPUs near it")) }
            if !near.isEmpty && near.isDisjoint(with: allowed) {
                parts.append(.marginal("the daemon may not run on the CPUs near GPU \(gpu.index)"))
            }
            let node = try files.number("\(folder)/numa_node")
            // -1 where the firmware does not say.
            if node >= 0 { gpuNodes.insert(node) }
        }
        guard nodes.count > 1 else { return parts.isEmpty ? .pass("there is one NUMA node", value: "1") : .of(parts) }
        for name in sources.interfaces {
            guard let node = try? files.number("/sys/class/net/\(name)/device/numa_node"), node >= 0,
                !gpuNodes.isEmpty, !gpuNodes.contains(node)
            else { continue }
            parts.append(
                .marginal("\(name) is on NUMA node \(node), the GPUs on \(listed(gpuNodes.sorted().map(String.init)))"))
        }
        if parts.isEmpty { parts = [.pass("the network is on the GPUs' NUMA node", value: "\(nodes.count)")] }
        return .of(parts)
    }

    private static func allowedCPUs(of daemon: Int?, _ files: any FileTree) throws(SourceFailure) -> Set<Int> {
        let path = "/proc/\(daemon.map(String.init) ?? "self")/status"
        let name = "Cpus_allowed_list:"
        guard let line = try files.lines(path).first(where: { $0.hasPrefix(name) }) else {
            throw SourceFailure("\(path) does not tell the CPUs")
        }
        return cpuSet(line.dropFirst(name.count).drop { $0 == " " || $0 == "\t" })
    }

    /// The numbers of a list such as `0-3,8`.
    private static func cpuSet(_ text: some StringProtocol) -> Set<Int> {
        var numbers: Set<Int> = []
        for range in text.split(separator: ",") {
            let ends = range.split(separator: "-").compactMap { Int($0) }
            // The kernel's own limit of CPUs is 8192.
            guard let first = ends.first, let last = ends.last, first <= last, last < 8_192 else { continue }
            numbers.formUnion(first...last)
        }
        return numbers
    }

    // MARK: HC-21

    static let linkWidth = HealthCheck(
        "HC-21", "pci_width", .performance, on: [.server],
        source: "nvmlDeviceGetCurrPcieLinkWidth, GetMaxPcieLinkWidth, GetPcieReplayCounter",
        threshold: "all lanes, replays do not grow; fatal with a quarter of the lanes or fewer",
        remedy: "seat the GPU again, look at its riser and at the slot's settings in the firmware"
    ) { sources throws(SourceFailure) in
        try sources.judgeGPUs { gpu throws(SourceFailure) in
            guard let width = try gpu.linkWidth.known("the link's width"),
                let most = try gpu.linkWidthMax.known("the link's greatest width"), most > 0
            else { return .skipped("it has no PCIe link") }
            let detail = "x\(width) of x\(most)"
            if width * 4 <= most { return .fatal(detail, value: "x\(width)") }
            if width < most { return .marginal(detail, value: "x\(width)") }
            let replays = try gpu.linkReplays.known("the link's replays") ?? 0
            let growth = try sources.history.growth(["replays": replays], of: "pcie.\(gpu.uuid)")?["replays"] ?? 0
            guard growth == 0 else {
                return .marginal("\(detail), and \(growth) packets were sent again", value: "x\(width)")
            }
            return .pass(detail, value: "x\(width)")
        }
    }
}

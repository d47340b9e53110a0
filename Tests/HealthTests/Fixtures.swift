// SPDX-License-Identifier: Apache-2.0
import Health
import Pool
import Synchronization

/// Files in memory: each path with its text.
struct FixtureFiles: FileTree {
    var texts: [String: String] = [:]
    var links: [String: String] = [:]
    var binaries: [String: [UInt8]] = [:]
    var modes: [String: UInt32] = [:]

    func bytes(_ path: String) throws(SourceFailure) -> [UInt8] {
        if let bytes = binaries[path] ?? texts[path].map({ Array($0.utf8) }) { return bytes }
        throw SourceFailure("\(path): No such file or directory")
    }

    func names(in folder: String) throws(SourceFailure) -> [String] {
        let prefix = folder + "/"
        let paths = Array(texts.keys) + Array(binaries.keys) + Array(links.keys)
        let names = Set(
            paths.filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.count).prefix { $0 != "/" } })
        guard !names.isEmpty else { throw SourceFailure("\(folder): No such file or directory") }
        return names.map(String.init).sorted()
    }

    func target(of link: String) throws(SourceFailure) -> String {
        guard let target = links[link] else { throw SourceFailure("\(link): No such file or directory") }
        return target
    }

    func attributes(of path: String) throws(SourceFailure) -> FileAttributes {
        FileAttributes(mode: modes[path] ?? 0o644, byteCount: try bytes(path).count)
    }
}

struct FixtureFileSystems: FileSystems {
    var spaces: [String: FileSystemSpace] = [:]

    func space(at path: String) throws(SourceFailure) -> FileSystemSpace {
        guard let space = spaces[path] else { throw SourceFailure("\(path): No such file or directory") }
        return space
    }
}

/// Counters as they were before; nothing where a test says that they cannot be kept.
final class FixtureHistory: CounterHistory {
    private let groups: Mutex<[String: [String: UInt64]]>
    private let isBroken: Bool

    init(_ groups: [String: [String: UInt64]] = [:], isBroken: Bool = false) {
        self.groups = Mutex(groups)
        self.isBroken = isBroken
    }

    func exchange(_ counters: [String: UInt64], of group: String) throws(SourceFailure) -> [String: UInt64]? {
        guard !isBroken else { throw SourceFailure("counters cannot be kept") }
        return groups.withLock { groups in
            defer { groups[group] = counters }
            return groups[group]
        }
    }
}

/// A healthy node, of which each case breaks something.
struct Node: Sendable {
    var sources: HealthSources
    var files = FixtureFiles()
    var fileSystems = FixtureFileSystems()

    static let daemon = 4711

    static func server(gpus: Int = 1, software: Bool = false) -> Node {
        var node = Node(.server)
        let list = (0..<gpus).map { index in
            GPU(
                index: index, name: "NVIDIA A100", uuid: "GPU-\(index)", totalMiB: 40_960,
                pciBusID: "00000000:3\(index):00.0")
        }
        node.sources.daemon = Node.daemon
        node.sources.inventory = .success(Inventory(driverVersion: 12_040, gpus: list))
        node.sources.management = .success(GPUReadings.healthy(gpus))
        node.sources.isSoftware = software
        for gpu in 0..<gpus { node.addDevice("0000:3\(gpu):00.0") }
        return node
    }

    static func client(_ servers: ServerReading...) -> Node {
        var node = Node(.client)
        node.sources.servers = .success(servers)
        node.sources.wireVersion = "1.0"
        return node
    }

    private init(_ role: HealthReport.Role) {
        sources = HealthSources(
            role: role, now: 1_800_000_000_000, files: files, fileSystems: fileSystems,
            networks: [Network(name: "net1", interface: "eth0", address: "10.0.0.7", prefixLength: 24)],
            history: FixtureHistory(), folders: [("the data folder", "/data"), ("temporary files", "/tmp")],
            installation: Installation(
                prefix: "/opt", manifests: "/opt/share/bitfusion/manifest.d", configurationProblem: nil),
            libraries: .success([LibraryReading(name: "libcuda.so.1", isRequired: true, problem: nil)]))
        addMachine()
        addInterface("eth0")
        for path in ["/data", "/tmp"] {
            fileSystems.spaces[path] = FileSystemSpace(totalBytes: 200 << 30, freeBytes: 100 << 30)
        }
    }

    private mutating func addMachine() {
        files.texts["/proc/cpuinfo"] = "processor\t: 0\nbogomips\t: 5200.10\n\nprocessor\t: 1\nbogomips\t: 5199.98\n"
        memory(total: 128 << 20, available: 100 << 20)
        files.texts["/proc/net/snmp"] = "Tcp: OutSegs RetransSegs\nTcp: 1000000 100\n"
        for process in ["self", "\(Node.daemon)"] {
            openFiles(soft: 100_000, hard: 100_000, of: process)
            files.texts["/proc/\(process)/status"] = "Name:\tbitfusion\nCpus_allowed_list:\t0-7\n"
        }
        files.texts["/sys/devices/system/node/node0/cpulist"] = "0-7"
        files.texts["/opt/share/bitfusion/manifest.d/client"] = "755 4 bin/bitfusion\n644 2 share/a file\n"
        files.texts["/opt/bin/bitfusion"] = "\u{7F}ELF"
        files.modes["/opt/bin/bitfusion"] = 0o755
        files.texts["/opt/share/a file"] = "ab"
        files.texts["/etc/group"] = "root:x:0:\nbitfusion:x:998:\n"
        files.texts["/sys/module/nvidia/version"] = "550.54.14\n"
        files.texts["/proc/driver/nvidia/version"] =
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14\n"
        files.texts["/proc/uptime"] = "100000.00 700000.00\n"
        files.texts["/dev/kmsg"] = "6,1,0,-;Linux version 6.1\n"
    }

    // MARK: What cases change

    mutating func memory(total: Int, available: Int) {
        files.texts["/proc/meminfo"] = "MemTotal: \(total) kB\nMemFree: 1 kB\nMemAvailable: \(available) kB\n"
    }

    mutating func openFiles(soft: Int, hard: Int, of process: String) {
        files.texts["/proc/\(process)/limits"] =
            "Limit                     Soft Limit           Hard Limit           Units     \n"
            + "Max open files            \(soft)                \(hard)                files     \n"
    }

    mutating func addInterface(_ name: String, state: String = "up", speed: Int = 25_000, mtu: Int = 9_000) {
        let folder = "/sys/class/net/\(name)"
        files.texts["\(folder)/operstate"] = state
        files.texts["\(folder)/speed"] = "\(speed)"
        files.texts["\(folder)/mtu"] = "\(mtu)"
        files.texts["\(folder)/device/numa_node"] = "0"
        for (counter, value) in Node.counters { files.texts["\(folder)/statistics/\(counter)"] = "\(value)" }
    }

    static let counters: [String: UInt64] = [
        "rx_errors": 3, "tx_errors": 0, "rx_dropped": 10, "tx_dropped": 0, "rx_crc_errors": 3, "rx_packets": 5_000_000,
        "tx_packets": 5_000_000, "multicast": 100,
    ]

    mutating func addDevice(_ address: String, driver: String? = "nvidia") {
        let folder = "/sys/bus/pci/devices/\(address)"
        files.texts["\(folder)/vendor"] = "0x10de\n"
        files.texts["\(folder)/class"] = "0x030200\n"
        if let driver { files.links["\(folder)/driver"] = "../../../bus/pci/drivers/\(driver)" }
        files.texts["\(folder)/numa_node"] = "0"
        files.texts["\(folder)/local_cpulist"] = "0-7"
        files.texts["\(folder)/resource"] = """
            0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200
            0x0000010000000000 0x0000011fffffffff 0x000000000014220c
            0x0000000000000000 0x0000000000000000 0x0000000000000000
            """
        files.texts["\(folder)/enable"] = "1"
        files.texts["\(folder)/power_state"] = "D0"
        // Bus master, memory and ports.
        files.binaries["\(folder)/config"] = [0xDE, 0x10, 0xB0, 0x20, 0x07, 0x04, 0x10, 0x00]
        for kind in ["fatal", "nonfatal"] {
            files.texts["\(folder)/aer_dev_\(kind)"] = "DLP 0\nTOTAL_ERR_\(kind.uppercased()) 0\n"
        }
        files.texts["\(folder)/aer_dev_correctable"] = "RxErr 0\nTOTAL_ERR_COR 5\n"
    }

    /// Changes what the management library says of the first GPU.
    mutating func gpu(_ change: (inout GPUReading) -> Void) {
        readings { change(&$0.gpus[0]) }
    }

    mutating func readings(_ change: (inout GPUReadings) -> Void) {
        guard case .success(var readings) = sources.management else { return }
        change(&readings)
        sources.management = .success(readings)
    }

    /// The management library does not start.
    mutating func fails(code: UInt32?, _ message: String = "the management library does not start") {
        readings { readings in
            readings.gpus = []
            readings.problem = GPUReadings.Problem(message: message, code: code)
        }
    }

    /// Runs one check.
    func outcome(_ name: String) -> HealthOutcome? {
        var sources = sources
        sources.files = files
        sources.fileSystems = fileSystems
        return HealthChecks.all.first { $0.name == name }?.outcome(sources)
    }
}

extension GPUReadings {
    static func healthy(_ count: Int) -> GPUReadings {
        GPUReadings(
            driverVersion: .value("550.54.14"), cudaVersion: .value(12_040),
            gpus: (0..<count).map { index in
                var gpu = GPUReading(
                    index: index, name: "NVIDIA A100", uuid: "GPU-\(index)", pciBusID: "00000000:3\(index):00.0")
                gpu.computeMode = .value(0)
                gpu.isPersistent = .value(true)
                gpu.hasECC = .value(true)
                gpu.uncorrectedErrors = .value(0)
                gpu.correctedErrors = .value(7)
                gpu.remappedRows = .value(.init(corrected: 0, uncorrected: 0, isPending: false, hasFailed: false))
                gpu.celsius = .value(40)
                gpu.slowdownCelsius = .value(95)
                gpu.utilizationPercent = .value(3)
                gpu.memory = .value(.init(total: 40 << 30, reserved: 1 << 30, free: 38 << 30, used: 1 << 30))
                gpu.powerMilliwatts = .value(60_000)
                gpu.performanceState = .value(0)
                gpu.clockReasons = .value(1)
                gpu.processes = .value([])
                gpu.linkWidth = .value(16)
                gpu.linkWidthMax = .value(16)
                gpu.linkReplays = .value(2)
                return gpu
            },
            pairs: (0..<count).flatMap { first in
                ((first + 1)..<max(count, first + 1)).map { second in
                    GPUPairReading(
                        first: first, second: second, read: .value(0), write: .value(0), ancestor: .value(30))
                }
            }, libraries: [LibraryReading(name: "libcuda.so.1", isRequired: true, problem: nil)])
    }
}

extension ServerReading {
    static func answering(
        _ address: String = "10.0.0.1:56001", _ change: (inout Answer) -> Void = { _ in }
    ) -> ServerReading {
        var answer = Answer(
            protocolVersion: SchedulerRequest.version, wireVersion: "1.0", release: ProductVersion.number,
            cudaVersion: 12_040, gpuMiB: [40_960], clockAheadMilliseconds: 20,
            path: Path(ownAddress: "10.0.0.7", segmentBytes: 8_948, problem: nil))
        change(&answer)
        return ServerReading(address: address, answer: .success(answer))
    }

    static func silent(_ address: String = "10.0.0.2:56001") -> ServerReading {
        ServerReading(address: address, answer: .failure(SourceFailure("server \(address) is not reached")))
    }
}

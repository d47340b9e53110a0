// SPDX-License-Identifier: Apache-2.0
import Health
import Pool
import Testing

/// One node in a certain state, and what one check must find there.
struct Case: Sendable, CustomTestStringConvertible {
    enum Expected: String, Sendable {
        case pass, skipped, marginal, fatal
        /// The source cannot be read: marginal, with the reason.
        case missing
    }

    let check: String
    let expected: Expected
    /// What the detail must contain.
    let words: String
    let node: Node

    init(
        _ check: String, _ expected: Expected, _ words: String, _ node: Node, _ change: (inout Node) -> Void = { _ in }
    ) {
        self.check = check
        self.expected = expected
        self.words = words
        var node = node
        change(&node)
        self.node = node
    }

    var testDescription: String { "\(check) is \(expected): \(words)" }

    static let all = machine + limits + network + servers + state + bus + software

    // MARK: HC-13, HC-14, HC-15, HC-26

    static let machine: [Case] = [
        Case("bogomips", .pass, "slowest of 2 CPUs has 5199", .client()),
        Case("bogomips", .marginal, "2000", .client()) { $0.files.texts["/proc/cpuinfo"] = "bogomips : 2000.00\n" },
        Case("bogomips", .marginal, "cpu0 run with the governor powersave", .client()) {
            $0.files.texts["/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"] = "powersave\n"
            $0.files.texts["/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"] = "acpi-cpufreq\n"
        },
        // This driver's powersave raises the clock under load.
        Case("bogomips", .pass, "5199", .client()) {
            $0.files.texts["/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"] = "powersave\n"
            $0.files.texts["/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"] = "intel_pstate\n"
        },
        Case("bogomips", .fatal, "1999", .client()) { $0.files.texts["/proc/cpuinfo"] = "bogomips : 1999.99\n" },
        Case("bogomips", .skipped, "says nothing", .client()) {
            $0.files.texts["/proc/cpuinfo"] = "BogoMIPS\t: 50.00\n"
        },
        Case("bogomips", .missing, "/proc/cpuinfo", .client()) { $0.files.texts["/proc/cpuinfo"] = nil },

        Case("hostmem", .pass, "128.0 GiB for 40.0 GiB", .server()),
        Case("hostmem", .pass, "are available", .client()),
        Case("hostmem", .marginal, "59.9 GiB for 40.0 GiB", .server()) {
            $0.memory(total: 62_814_617, available: 50 << 20)
        },
        Case("hostmem", .marginal, "9.0 GiB of 128.0 GiB are available", .client()) {
            $0.memory(total: 128 << 20, available: 9 << 20)
        },
        Case("hostmem", .marginal, "only 3.0 GiB", .client()) { $0.memory(total: 3 << 20, available: 5 << 19) },
        Case("hostmem", .fatal, "39.9 GiB for 40.0 GiB", .server()) {
            $0.memory(total: (40 << 20) - 1, available: 30 << 20)
        },
        Case("hostmem", .fatal, "1.9 GiB of 128.0 GiB", .client()) {
            $0.memory(total: 128 << 20, available: (2 << 20) - 1)
        },
        // A container's limit is the machine's size.
        Case("hostmem", .fatal, "32.0 GiB for 40.0 GiB", .server()) {
            $0.files.texts["/sys/fs/cgroup/memory.max"] = "\(32 << 30)\n"
        },
        Case("hostmem", .pass, "128.0 GiB", .server()) { $0.files.texts["/sys/fs/cgroup/memory.max"] = "max\n" },
        Case("hostmem", .missing, "/proc/meminfo has no MemAvailable", .client()) {
            $0.files.texts["/proc/meminfo"] = "MemTotal: 100 kB\n"
        },

        Case("shadow_mem", .pass, "40.0 GiB on the GPUs", .server()),
        Case("shadow_mem", .pass, "80.0 GiB on the GPUs", .client(.answering(), .answering("b"), .silent())),
        Case("shadow_mem", .marginal, "39.9 GiB of memory", .client(.answering())) {
            $0.memory(total: (40 << 20) - 1, available: 9 << 20)
        },
        Case("shadow_mem", .fatal, "39.9 GiB of memory", .server()) {
            $0.memory(total: (40 << 20) - 1, available: 9 << 20)
        },
        Case("shadow_mem", .missing, "no server has told", .client(.silent())),
        Case("shadow_mem", .missing, "/proc/meminfo", .server()) { $0.files.texts["/proc/meminfo"] = nil },

        Case("xid", .pass, "no fault", .server()),
        Case("xid", .marginal, "Xid 31 of 0000:3b:00", .server()) {
            $0.files.texts["/dev/kmsg"]? += "4,2,99999000000,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=7, MMU Fault\n"
        },
        // Longer than a day ago.
        Case("xid", .pass, "no fault", .server()) {
            $0.files.texts["/dev/kmsg"]? += "4,2,1000000,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=7, MMU Fault\n"
        },
        Case("xid", .fatal, "Xid 79", .server()) {
            $0.files.texts["/dev/kmsg"]? +=
                "4,2,1000000,-;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n"
        },
        Case("xid", .skipped, "software GPUs", .server(software: true)),
        Case("xid", .missing, "/dev/kmsg", .server()) { $0.files.texts["/dev/kmsg"] = nil },
    ]

    // MARK: HC-22, HC-23

    static let limits: [Case] = [
        Case("ulimit_n", .pass, "the daemon may open 100000", .server()),
        // The launcher raises the soft limit.
        Case("ulimit_n", .pass, "1024 before", .client()) { $0.openFiles(soft: 1_024, hard: 100_000, of: "self") },
        Case("ulimit_n", .marginal, "99999", .client()) { $0.openFiles(soft: 1_024, hard: 99_999, of: "self") },
        Case("ulimit_n", .marginal, "4096", .server()) { $0.openFiles(soft: 4_096, hard: 4_096, of: "\(Node.daemon)") },
        Case("ulimit_n", .fatal, "4095", .client()) { $0.openFiles(soft: 1_024, hard: 4_095, of: "self") },
        Case("ulimit_n", .missing, "/proc/self/limits", .client()) { $0.files.texts["/proc/self/limits"] = nil },

        Case("diskspace", .pass, "100.0 GiB of 200.0 GiB are free", .server()),
        Case("diskspace", .marginal, "/tmp: 39.9 GiB of 200.0 GiB", .server()) {
            $0.fileSystems.spaces["/tmp"]?.freeBytes = (40 << 30) - 1
        },
        Case("diskspace", .marginal, "9.9 GiB of 12.0 GiB", .client()) {
            $0.fileSystems.spaces["/data"] = FileSystemSpace(totalBytes: 12 << 30, freeBytes: (10 << 30) - 1)
        },
        Case("diskspace", .marginal, "19 % of the inodes", .client()) {
            $0.fileSystems.spaces["/data"]?.totalNodes = 100
            $0.fileSystems.spaces["/data"]?.freeNodes = 19
        },
        Case("diskspace", .fatal, "the data folder /data: 1.9 GiB", .server()) {
            $0.fileSystems.spaces["/data"] = FileSystemSpace(totalBytes: 4 << 30, freeBytes: (2 << 30) - 1)
        },
        Case("diskspace", .fatal, "9.9 GiB of 200.0 GiB", .server()) {
            $0.fileSystems.spaces["/data"]?.freeBytes = (10 << 30) - 1
        },
        Case("diskspace", .missing, "/tmp", .client()) { $0.fileSystems.spaces["/tmp"] = nil },
    ]

    // MARK: HC-06, HC-16, HC-18

    static let network: [Case] = [
        Case("network", .pass, "baseline taken", .client()),
        Case("network", .pass, "no losses in 1000000 packets", grown(packets: 1_000_000)),
        Case("network", .marginal, "rx_errors +100", grown(packets: 1_000_000, ["rx_errors": 100])),
        Case("network", .fatal, "rx_errors +101", grown(packets: 1_000_000, ["rx_errors": 101])),
        // Too few packets for a share to say much.
        Case("network", .marginal, "tx_dropped +50 in 9999", grown(packets: 9_999, ["tx_dropped": 50])),
        // Multicast that nobody here listens to.
        Case("network", .marginal, "rx_dropped", grown(packets: 10_000, ["rx_dropped": 90, "multicast": 90])),
        Case("network", .fatal, "rx_dropped", grown(packets: 10_000, ["rx_dropped": 90, "multicast": 10])),
        Case("network", .pass, "9 of 10000 segments", grown(packets: 1, sent: 10_000, again: 9)),
        Case("network", .marginal, "100 of 10000 segments", grown(packets: 1, sent: 10_000, again: 100)),
        Case("network", .fatal, "101 of 10000 segments", grown(packets: 1, sent: 10_000, again: 101)),
        Case("network", .pass, "50 of 999 segments", grown(packets: 1, sent: 999, again: 50)),
        Case("network", .fatal, "eth0: the interface is down", .client()) { $0.addInterface("eth0", state: "down") },
        // Counters begin anew at a boot.
        Case("network", .pass, "baseline taken", .client()) {
            $0.sources.history = FixtureHistory(["network.eth0": ["rx_errors": 1_000, "rx_packets": 9_000_000]])
        },
        Case("network", .missing, "operstate", .client()) { $0.files.texts["/sys/class/net/eth0/operstate"] = nil },
        Case("network", .missing, "cannot be kept", .client()) { $0.sources.history = FixtureHistory(isBroken: true) },
        Case("network", .missing, "/proc/net/snmp", .client()) { $0.files.texts["/proc/net/snmp"] = nil },
        Case("network", .missing, "no interface", .client()) { $0.sources.networks = [] },

        Case("iface_compat", .pass, "eth0 10.0.0.7/24", .server(gpus: 2)),
        Case("iface_compat", .marginal, "eth0 has only 1000 Mbps", .server(gpus: 2)) {
            $0.addInterface("eth0", speed: 1_000)
        },
        Case("iface_compat", .pass, "eth0", .server(gpus: 1)) { $0.addInterface("eth0", speed: 1_000) },
        Case("iface_compat", .marginal, "does not tell its speed", .server(gpus: 2)) {
            $0.addInterface("eth0", speed: -1)
        },
        Case("iface_compat", .marginal, "eth0 and eth1 are in one subnet", .client()) {
            $0.addInterface("eth1")
            $0.sources.networks.append(Network(name: "net2", interface: "eth1", address: "10.0.0.8", prefixLength: 24))
        },
        Case("iface_compat", .marginal, "RDMA port mlx5_0/1: it is not active", .client()) {
            $0.files.texts["/sys/class/infiniband/mlx5_0/ports/1/state"] = "1: DOWN\n"
        },
        Case("iface_compat", .pass, "eth0", .client()) {
            $0.files.texts["/sys/class/infiniband/mlx5_0/ports/1/state"] = "4: ACTIVE\n"
        },
        Case("iface_compat", .fatal, "no interface with an IPv4 address", .client()) {
            $0.sources.networks = [Network(name: "net1", interface: "eth0", address: "fd00::7", prefixLength: 64)]
        },
        Case("iface_compat", .fatal, "is up", .client()) { $0.addInterface("eth0", state: "down") },
        Case("iface_compat", .missing, "operstate", .client()) {
            $0.files.texts["/sys/class/net/eth0/operstate"] = nil
        },

        Case("mtu", .pass, "MTU 9000", .server()),
        Case("mtu", .pass, "MTU 4096", .server()) { $0.addInterface("eth0", mtu: 4_096) },
        Case("mtu", .marginal, "MTU 4095 at 10000 Mbps", .server()) {
            $0.addInterface("eth0", speed: 10_000, mtu: 4_095)
        },
        Case("mtu", .marginal, "does not tell its speed", .server()) { $0.addInterface("eth0", speed: -1, mtu: 1_500) },
        Case("mtu", .skipped, "slower than 10 Gbps", .server()) { $0.addInterface("eth0", speed: 1_000, mtu: 1_500) },
        Case("mtu", .pass, "segments of 8948 bytes arrive", .client(.answering())),
        Case(
            "mtu", .marginal, "only 1448 bytes, though the MTU here is 9000",
            .client(.answering { $0.path?.segmentBytes = 1_448 })),
        Case("mtu", .marginal, "was not tried: busy", .client(.answering { $0.path?.problem = .notTried("busy") })),
        Case(
            "mtu", .fatal, "segments of 8948 bytes do not",
            .client(.answering { $0.path?.problem = .fullSegmentsAreLost })),
        Case("mtu", .missing, "/sys/class/net/eth0/mtu", .server()) { $0.files.texts["/sys/class/net/eth0/mtu"] = nil },
    ]

    /// A client whose counters have grown by so much since the last run.
    private static func grown(
        packets: UInt64, _ growth: [String: UInt64] = [:], sent: UInt64 = 0, again: UInt64 = 0
    ) -> Node {
        var node = Node.client()
        var before = Node.counters
        before["rx_packets"]? -= packets
        for (counter, value) in growth {
            let now = (before[counter] ?? 0) + value
            node.files.texts["/sys/class/net/eth0/statistics/\(counter)"] = "\(now)"
        }
        node.sources.history = FixtureHistory([
            "network.eth0": before, "tcp": ["sent": 1_000_000 - sent, "again": 100 - min(100, again)],
        ])
        if again > 100 {
            node.files.texts["/proc/net/snmp"] = "Tcp: OutSegs RetransSegs\nTcp: 1000000 \(again)\n"
        }
        return node
    }

    // MARK: The client's servers

    static let servers: [Case] = [
        Case("servers_reachable", .pass, "2 of 2", .client(.answering(), .answering("b"))),
        Case("servers_reachable", .marginal, "server 10.0.0.2:56001 is not reached", .client(.answering(), .silent())),
        Case("servers_reachable", .fatal, "not reached", .client(.silent())),
        Case("servers_reachable", .missing, "no servers are known", .client()) {
            $0.sources.servers = .failure(SourceFailure("no servers are known"))
        },
        Case("clock_skew", .pass, "4.9 s ahead", .client(.answering { $0.clockAheadMilliseconds = 4_999 })),
        Case("clock_skew", .marginal, "5.0 s behind", .client(.answering { $0.clockAheadMilliseconds = -5_000 })),
        Case("clock_skew", .marginal, "60.0 s ahead", .client(.answering { $0.clockAheadMilliseconds = 60_000 })),
        Case("clock_skew", .fatal, "60.0 s behind", .client(.answering { $0.clockAheadMilliseconds = -60_001 })),
        Case("clock_skew", .missing, "no server has told", .client(.answering { $0.clockAheadMilliseconds = nil })),
    ]
}

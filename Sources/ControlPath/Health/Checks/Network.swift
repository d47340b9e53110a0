// SPDX-License-Identifier: Apache-2.0
import Pool

/// Whether the network loses packets, and is set up in a way that can work.
enum NetworkChecks {
    static let all = [losses, setup]

    // MARK: HC-06

    /// With fewer packets one loss is a large share: it is seen, and not fatal.
    static let packetsMin: UInt64 = 10_000
    static let segmentsMin: UInt64 = 1_000

    static let losses = HealthCheck(
        "HC-06", "network", .stability,
        source: "/sys/class/net/IF/statistics/*errors and *dropped, operstate; /proc/net/snmp",
        threshold:
            "no counter grows, retransmitted < 0.1 %; fatal above 0.01 % of 10000 or more packets, above 1 % of 1000 "
            + "or more segments sent, or when an interface is down",
        remedy:
            "look for a bad cable or port, for drops at the switch and for full receive rings (ethtool -S, ethtool -g)",
        judge: judgeLosses)

    @Sendable private static func judgeLosses(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        var parts: [Finding] = []
        for name in sources.interfaces {
            parts.append(
                Finding.attempt { () throws(SourceFailure) in try judgeInterface(name, sources) }.about(name))
        }
        if parts.isEmpty { throw SourceFailure("no interface has an address") }
        parts.append(Finding.attempt { () throws(SourceFailure) in try judgeRetransmissions(sources) }.about("TCP"))
        return .of(parts)
    }

    private static func judgeInterface(_ name: String, _ sources: HealthSources) throws(SourceFailure) -> Finding {
        let state = try sources.files.text("/sys/class/net/\(name)/operstate")
        // Virtual interfaces do not know.
        guard state == "up" || state == "unknown" else {
            return .fatal("the interface is \(state)", value: state, remedy: "ip link set \(name) up")
        }
        let folder = "/sys/class/net/\(name)/statistics"
        let names = try sources.files.names(in: folder).filter { $0.hasSuffix("errors") || $0.hasSuffix("dropped") }
        guard !names.isEmpty else { throw SourceFailure("\(folder) has no counters of errors") }
        var counters: [String: UInt64] = [:]
        for counter in names + ["rx_packets", "tx_packets", "multicast"] {
            counters[counter] = UInt64(clamping: try sources.files.number("\(folder)/\(counter)"))
        }
        guard let growth = try sources.history.growth(counters, of: "network.\(name)") else {
            return .pass("baseline taken")
        }
        return judge(growth, names)
    }

    private static func judge(_ growth: [String: UInt64], _ names: [String]) -> Finding {
        let grown = names.filter { growth[$0] ?? 0 > 0 }
        let packets = (growth["rx_packets"] ?? 0) + (growth["tx_packets"] ?? 0)
        guard !grown.isEmpty else { return .pass("no losses in \(packets) packets", value: "0 %") }
        // The others, such as rx_crc_errors, are counted in these too.
        let totals = ["rx_errors", "tx_errors", "rx_dropped", "tx_dropped"].reduce(0) { $0 + (growth[$1] ?? 0) }
        let lost = max(totals, grown.map { growth[$0] ?? 0 }.max() ?? 0)
        let share = percent(lost, of: packets, decimals: 3)
        let detail =
            "\(grown.map { "\($0) +\(growth[$0] ?? 0)" }.joined(separator: ", ")) in \(packets) packets (\(share))"
        let isFiltered = grown == ["rx_dropped"] && lost <= growth["multicast"] ?? 0
        let isMuch = packets >= packetsMin && lost * 10_000 > packets
        return isMuch && !isFiltered ? .fatal(detail, value: share) : .marginal(detail, value: share)
    }

    private static func judgeRetransmissions(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let lines = try sources.files.lines("/proc/net/snmp").filter { $0.hasPrefix("Tcp:") }
            .map { $0.split(separator: " ") }
        guard lines.count == 2, lines[0].count == lines[1].count,
            let sentAt = lines[0].firstIndex(of: "OutSegs"), let againAt = lines[0].firstIndex(of: "RetransSegs"),
            let sent = UInt64(lines[1][sentAt]), let again = UInt64(lines[1][againAt])
        else { throw SourceFailure("/proc/net/snmp does not tell what TCP sent again") }
        guard let growth = try sources.history.growth(["sent": sent, "again": again], of: "tcp") else {
            return .pass("baseline taken")
        }
        let (segments, repeated) = (growth["sent"] ?? 0, growth["again"] ?? 0)
        let share = percent(repeated, of: segments, decimals: 2)
        let detail = "\(repeated) of \(segments) segments were sent again"
        guard segments >= segmentsMin, repeated * 1_000 >= segments else { return .pass(detail, value: share) }
        return repeated * 100 > segments ? .fatal(detail, value: share) : .marginal(detail, value: share)
    }

    // MARK: HC-16

    /// Mbps: a network below it slows programs on several GPUs down.
    static let fastMegabits = 10_000

    static let setup = HealthCheck(
        "HC-16", "iface_compat", .performance,
        source: "the interfaces' addresses, /sys/class/net/IF/operstate and speed, /sys/class/infiniband",
        threshold:
            "an IPv4 interface that is up, one for each subnet; a server with 2 or more GPUs: 10 Gbps; RDMA ports "
            + "active; fatal without a usable IPv4 interface",
        remedy: "give each interface a subnet of its own, and the server a network of 10 Gbps or more",
        judge: judgeSetup)

    @Sendable private static func judgeSetup(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let usable = sources.networks.filter { network in
            guard !network.address.contains(":") else { return false }
            let state = try? sources.files.text("/sys/class/net/\(network.interface)/operstate")
            return state == "up" || state == "unknown"
        }
        guard !usable.isEmpty else {
            let unread = sources.networks.filter { !sources.files.has("/sys/class/net/\($0.interface)/operstate") }
            if let network = unread.first {
                throw SourceFailure("/sys/class/net/\(network.interface)/operstate cannot be read")
            }
            return .fatal("no interface with an IPv4 address is up", value: "0")
        }
        var parts = [
            Finding.pass(
                usable.map { "\($0.interface) \($0.address)/\($0.prefixLength)" }.joined(separator: ", "),
                value: "\(usable.count)")
        ]
        for (index, one) in usable.enumerated() {
            for other in usable[(index + 1)...] where other.interface != one.interface {
                guard one.contains(other.address) || other.contains(one.address) else { continue }
                parts.append(.marginal("\(one.interface) and \(other.interface) are in one subnet"))
            }
        }
        if sources.role == .server, (try? sources.inventory.get().gpus.count) ?? 0 > 1 {
            parts += sources.interfaces.map { judgeSpeed($0, sources.files) }
        }
        parts += remotePorts(sources.files)
        return .of(parts)
    }

    private static func judgeSpeed(_ name: String, _ files: any FileTree) -> Finding {
        guard let speed = speed(of: name, files) else {
            return .marginal(
                "\(name) does not tell its speed", remedy: "make sure that its network has 10 Gbps or more")
        }
        return speed < fastMegabits ? .marginal("\(name) has only \(speed) Mbps") : .pass("\(name) has \(speed) Mbps")
    }

    /// Mbps; nil where the driver does not know, as for many virtual interfaces.
    static func speed(of name: String, _ files: any FileTree) -> Int? {
        (try? files.number("/sys/class/net/\(name)/speed")).flatMap { $0 > 0 ? $0 : nil }
    }

    private static func remotePorts(_ files: any FileTree) -> [Finding] {
        let root = "/sys/class/infiniband"
        return ((try? files.names(in: root)) ?? []).flatMap { device in
            ((try? files.names(in: "\(root)/\(device)/ports")) ?? []).map { port in
                Finding.attempt { () throws(SourceFailure) in
                    let state = try files.text("\(root)/\(device)/ports/\(port)/state")
                    return state.contains("ACTIVE")
                        ? .pass("it is active") : .marginal("it is not active but '\(state)'")
                }.about("RDMA port \(device)/\(port)")
            }
        }
    }
}

extension HealthSources {
    /// The names of the interfaces that are used, each once.
    var interfaces: [String] {
        networks.map(\.interface).reduce(into: []) { names, name in if !names.contains(name) { names.append(name) } }
    }
}

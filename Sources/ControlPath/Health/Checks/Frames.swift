// SPDX-License-Identifier: Apache-2.0
import Pool

/// HC-18: whether the network carries large packets.
enum FrameChecks {
    static let all = [frames]

    static let largeFrameBytes = 4_096
    /// Headers of IPv4 and TCP, with the time stamps.
    private static let headerBytes = 52

    static let frames = HealthCheck(
        "HC-18", "mtu", .performance,
        source: "/sys/class/net/IF/mtu and speed; on a client full segments to every server and back",
        threshold:
            "MTU >= 4096 on interfaces of 10 Gbps and more, the same at both ends; fatal when full segments are lost",
        remedy: "ip link set IF mtu 9000 here, on the servers and on every switch between", judge: judgeFrames)

    @Sendable private static func judgeFrames(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        var parts = sources.interfaces.map { name in
            Finding.attempt { () throws(SourceFailure) in
                judge(
                    mtu: try sources.files.number("/sys/class/net/\(name)/mtu"),
                    speed: NetworkChecks.speed(of: name, sources.files))
            }.about(name)
        }
        if sources.role == .client, case .success(let servers) = sources.servers {
            parts += servers.compactMap { server in
                guard case .success(let answer) = server.answer, let path = answer.path else { return nil }
                return judge(path, sources).about("to \(server.address)")
            }
        }
        guard !parts.isEmpty else { throw SourceFailure("no interface has an address") }
        return .of(parts)
    }

    private static func judge(mtu: Int, speed: Int?) -> Finding {
        let value = "\(mtu)"
        if mtu >= largeFrameBytes { return .pass("MTU \(mtu)", value: value) }
        guard let speed else { return .marginal("MTU \(mtu), and the interface does not tell its speed", value: value) }
        guard speed >= NetworkChecks.fastMegabits else { return .skipped("\(speed) Mbps are slower than 10 Gbps") }
        return .marginal("MTU \(mtu) at \(speed) Mbps", value: value)
    }

    private static func judge(_ path: ServerReading.Path, _ sources: HealthSources) -> Finding {
        switch path.problem {
        case .fullSegmentsAreLost:
            return .fatal("small messages arrive, segments of \(path.segmentBytes) bytes do not")
        case .notTried(let reason): return .marginal("the way was not tried: \(reason)")
        case nil: break
        }
        let own = sources.networks.first { $0.address == path.ownAddress }
        let mtu = own.flatMap { try? sources.files.number("/sys/class/net/\($0.interface)/mtu") }
        guard let mtu, path.segmentBytes + headerBytes + (path.ownAddress.contains(":") ? 20 : 0) < mtu else {
            return .pass("segments of \(path.segmentBytes) bytes arrive")
        }
        return .marginal("segments have only \(path.segmentBytes) bytes, though the MTU here is \(mtu)")
    }
}

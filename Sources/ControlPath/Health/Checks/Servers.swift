// SPDX-License-Identifier: Apache-2.0
import Pool

/// Whether the client can work with the servers of its list.
enum ServerChecks {
    static let all = [reachable, clock]

    static let reachable = HealthCheck(
        nil, "servers_reachable", .stability, on: [.client], source: "a request to every server of the list",
        threshold: "all servers answer; fatal when none does",
        remedy: "start `bitfusion manager` there, open its ports in the firewall, or take the server from the list",
        judge: judgeReachable)

    @Sendable private static func judgeReachable(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let servers = try sources.servers.get()
        let failures = servers.compactMap { server -> String? in
            guard case .failure(let failure) = server.answer else { return nil }
            return failure.reason
        }
        let value = "\(servers.count - failures.count) of \(servers.count)"
        guard !failures.isEmpty else { return .pass("\(value) servers answer", value: value) }
        let detail = listed(failures)
        return failures.count == servers.count ? .fatal(detail, value: value) : .marginal(detail, value: value)
    }

    static let skewMilliseconds: Int64 = 5_000
    static let skewMillisecondsMax: Int64 = 60_000

    static let clock = HealthCheck(
        nil, "clock_skew", .stability, on: [.client], source: "the servers' clocks, in their answers",
        threshold: "< 5 s from every server; fatal above 60 s",
        remedy: "keep the clocks of all machines with chrony or systemd-timesyncd", judge: judgeClock)

    @Sendable private static func judgeClock(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let parts = try sources.answers().compactMap { server, answer -> Finding? in
            guard let ahead = answer.clockAheadMilliseconds else { return nil }
            let distance = ahead.magnitude
            let value = "\(distance / 1000).\(distance % 1000 / 100) s"
            let detail = "its clock is \(value) \(ahead < 0 ? "behind" : "ahead")"
            if distance > skewMillisecondsMax { return Finding.fatal(detail, value: value).about(server) }
            return (distance < skewMilliseconds ? Finding.pass(detail, value: value) : .marginal(detail, value: value))
                .about(server)
        }
        guard !parts.isEmpty else { throw SourceFailure("no server has told its time") }
        return .of(parts)
    }
}

// SPDX-License-Identifier: Apache-2.0

/// How a check came out, from good to bad.
package enum HealthStatus: String, Sendable, Codable, CaseIterable, Comparable {
    case pass
    /// It does not apply to this node.
    case skipped
    /// Works, but not as well or not for as long as it should; also a check that cannot read its source.
    case marginal
    case fatal

    package static func < (one: HealthStatus, other: HealthStatus) -> Bool { one.rank < other.rank }

    private var rank: Int {
        switch self {
        case .pass: 0
        case .skipped: 1
        case .marginal: 2
        case .fatal: 3
        }
    }
}

/// The four kinds of checks.
package enum HealthType: String, Sendable, Codable, CaseIterable {
    case stability = "Stability"
    case performance = "Performance"
    case systemResources = "System resources"
    case softwareVersion = "Software version"
}

/// What one check found on one node.
package struct HealthOutcome: Sendable, Codable, Equatable {
    package var name: String
    package var type: HealthType
    package var status: HealthStatus
    /// What was measured; nil where nothing was.
    package var value: String?
    /// What it is held against.
    package var threshold: String?
    package var detail: String
    /// What to do; nil where there is nothing to do.
    package var remedy: String?
    /// Whether it counts for the node's status.
    package var enabled: Bool
    /// When it was measured: seconds since 1970.
    package var ts: Int64

    package init(
        name: String, type: HealthType, status: HealthStatus, value: String?, threshold: String?, detail: String,
        remedy: String?, enabled: Bool, ts: Int64
    ) {
        self.name = name
        self.type = type
        self.status = status
        self.value = value
        self.threshold = threshold
        self.detail = detail
        self.remedy = remedy
        self.enabled = enabled
        self.ts = ts
    }

    /// Every member is there, `null` where there is nothing, so that programs find one form.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try container.encode(type, forKey: .type)
        try container.encode(status, forKey: .status)
        try container.encode(value, forKey: .value)
        try container.encode(threshold, forKey: .threshold)
        try container.encode(detail, forKey: .detail)
        try container.encode(remedy, forKey: .remedy)
        try container.encode(enabled, forKey: .enabled)
        try container.encode(ts, forKey: .ts)
    }
}

/// What all checks of one node found.
package struct HealthReport: Sendable, Codable, Equatable {
    /// Which checks a node runs: those of a client, or those of a server.
    package enum Role: String, Sendable, Codable {
        case client, server
    }

    package var hostname: String
    package var role: Role
    /// The product's version.
    package var version: String
    /// The worst of the enabled checks; what does not apply counts as passed.
    package var status: HealthStatus
    package var checks: [HealthOutcome]

    package init(hostname: String, role: Role, version: String, checks: [HealthOutcome]) {
        self.hostname = hostname
        self.role = role
        self.version = version
        self.checks = checks
        let worst = checks.filter(\.enabled).map(\.status).max() ?? .pass
        status = worst == .skipped ? .pass : worst
    }
}

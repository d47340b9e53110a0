// SPDX-License-Identifier: Apache-2.0
package import Pool

/// One check as a value: what it is called, who runs it, what it reads, and the function that judges what it has read.
package struct HealthCheck: Sendable {
    /// The row of the list of checks, such as `HC-22`; nil for those of our own.
    package let id: String?
    package let name: String
    package let type: HealthType
    package let roles: Set<HealthReport.Role>
    /// What is read, for people.
    package let source: String
    /// What passes, and what is marginal or fatal, for people.
    package let threshold: String
    /// What to do when it does not pass; a ``Finding`` may know better.
    package let remedy: String
    package let judge: @Sendable (HealthSources) throws(SourceFailure) -> Finding

    package init(
        _ id: String?, _ name: String, _ type: HealthType, on roles: Set<HealthReport.Role> = [.client, .server],
        source: String, threshold: String, remedy: String,
        judge: @escaping @Sendable (HealthSources) throws(SourceFailure) -> Finding
    ) {
        self.id = id
        self.name = name
        self.type = type
        self.roles = roles
        self.source = source
        self.threshold = threshold
        self.remedy = remedy
        self.judge = judge
    }

    /// Its row in the documentation: id, name, type, who runs it, source, threshold, remedy.
    package var documentation: String {
        let who = roles.map(\.rawValue).sorted().joined(separator: ", ")
        let cells = [id ?? "-", "`\(name)`", type.rawValue, who, source, threshold, remedy]
        return "| " + cells.joined(separator: " | ") + " |"
    }

    /// Judges what the sources say; what cannot be read is never passed over in silence.
    package func outcome(_ sources: HealthSources) -> HealthOutcome {
        let finding: Finding
        do throws(SourceFailure) { finding = try judge(sources) } catch {
            finding = .untold(error)
        }
        return outcome(finding, at: sources.now)
    }

    /// What to do about a finding that does not say it.
    private func advice(_ finding: Finding) -> String {
        finding.isUntold ? "make what this check reads readable: \(source)" : remedy
    }

    /// A finding in the form in which it is shown.
    package func outcome(_ finding: Finding, at now: Int64) -> HealthOutcome {
        HealthOutcome(
            name: name, type: type, status: finding.status, value: finding.value,
            threshold: finding.status == .skipped ? nil : threshold, detail: finding.detail,
            remedy: finding.status > .skipped ? finding.remedy ?? advice(finding) : nil, enabled: true, ts: now / 1000)
    }
}

/// A source that does not say what it is asked, and why.
package struct SourceFailure: Error, Sendable, Equatable {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }
}

/// What a check makes of its sources.
package struct Finding: Sendable, Equatable {
    package var status: HealthStatus
    package var detail: String
    package var value: String?
    package var remedy: String?
    /// Whether a source could not be read.
    package var isUntold = false

    package init(_ status: HealthStatus, _ detail: String, value: String? = nil, remedy: String? = nil) {
        self.status = status
        self.detail = detail
        self.value = value
        self.remedy = remedy
    }

    static func pass(_ detail: String, value: String? = nil) -> Finding { Finding(.pass, detail, value: value) }

    static func skipped(_ detail: String) -> Finding { Finding(.skipped, detail) }

    static func marginal(_ detail: String, value: String? = nil, remedy: String? = nil) -> Finding {
        Finding(.marginal, detail, value: value, remedy: remedy)
    }

    static func untold(_ failure: SourceFailure) -> Finding {
        var finding = Finding.marginal("it cannot be told: \(failure.reason)")
        finding.isUntold = true
        return finding
    }

    static func fatal(_ detail: String, value: String? = nil, remedy: String? = nil) -> Finding {
        Finding(.fatal, detail, value: value, remedy: remedy)
    }

    /// The finding of several things that are judged one by one: as bad as the worst of them, whose words come first.
    ///
    /// Things that do not apply are left out, unless none applies.
    static func of(_ parts: [Finding]) -> Finding {
        let applying = parts.filter { $0.status != .skipped }
        let sorted = (applying.isEmpty ? Array(parts.prefix(1)) : applying).enumerated().sorted {
            ($1.element.status, $0.offset) < ($0.element.status, $1.offset)
        }.map(\.element)
        guard let worst = sorted.first else { return .skipped("there is nothing to check") }
        let shown = worst.status > .skipped ? sorted.filter { $0.status > .skipped } : sorted
        let values = shown.compactMap(\.value)
        var finding = Finding(
            worst.status, shown.map(\.detail).joined(separator: "; "),
            value: values.isEmpty ? nil : values.joined(separator: "; "), remedy: worst.remedy)
        finding.isUntold = worst.isUntold
        return finding
    }

    /// A finding in front of whose words stands what it is about.
    func about(_ subject: String) -> Finding {
        var finding = self
        finding.detail = "\(subject): \(detail)"
        finding.value = value.map { "\(subject) \($0)" }
        return finding
    }
}

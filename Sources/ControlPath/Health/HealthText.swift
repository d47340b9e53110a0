// SPDX-License-Identifier: Apache-2.0
package import Pool

/// A report as the commands print it: one line a check, what to do below those that do not pass, and a summary.
package struct HealthText {
    private let report: HealthReport
    private let heading: String

    package init(_ report: HealthReport, node: String) {
        self.report = report
        heading = "\(node): \(report.hostname), \(report.role.rawValue), version \(report.version)"
    }

    package var lines: [String] {
        let names = max(4, report.checks.map(\.name.count).max() ?? 0)
        let types = HealthType.allCases.map(\.rawValue.count).max() ?? 0
        let rows = report.checks.flatMap { check -> [String] in
            let cells = [
                HealthText.padded(check.status.rawValue, 8), HealthText.padded(check.type.rawValue, types),
                HealthText.padded(check.name, names), check.detail,
            ]
            let line = "  " + cells.joined(separator: "  ")
            return [line] + (check.remedy.map { ["            -> \($0)"] } ?? [])
        }
        return [heading] + rows + [summary]
    }

    /// The status, and how many checks came out how.
    private var summary: String {
        let counts = HealthStatus.allCases.reversed().compactMap { status -> String? in
            let count = report.checks.filter { $0.status == status }.count
            return count == 0 ? nil : "\(count) \(status.rawValue)"
        }
        return "  overall \(report.status.rawValue): \(counts.joined(separator: ", "))"
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}

// SPDX-License-Identifier: Apache-2.0

extension TraceSummary {
    /// The summary as `bitfusion trace` prints it.
    package var text: String {
        var text = ""
        for process in processes {
            text += "\(process.program), process \(process.pid): \(counted(process.calls, "call"))"
            text += " of \(counted(process.threads, "thread"))\n"
        }
        text += "\(counted(callCount, "call")), \(failedCount) failed, in \(seconds(wallNanoseconds)) s\n\n"
        var rows = [["call", "count", "failed", "total ms", "p50 us", "p95 us", "p99 us", "max us"]]
        rows += calls.map { call in
            [
                call.name, "\(call.count)", "\(call.failed)", milliseconds(call.totalNanoseconds),
                microseconds(call.p50Nanoseconds), microseconds(call.p95Nanoseconds),
                microseconds(call.p99Nanoseconds), microseconds(call.maxNanoseconds),
            ]
        }
        return text + table(rows) + "\n" + network.text
    }
}

extension NetworkWaits {
    fileprivate var text: String {
        var text = "waits on the network\n"
        guard callCount > 0 else { return text + "no call waited for a reply\n" }
        text += "\(counted(callCount, "call")) waited \(seconds(waitedNanoseconds)) s for replies, "
        text += "\(percent(shareOfWall)) of the time\n\n"
        var rows = [["call", "waited", "replies", "total ms", "of the time", "max us"]]
        rows += calls.map { call in
            [
                call.name, "\(call.count)", "\(call.replies)", milliseconds(call.waitedNanoseconds),
                percent(call.shareOfWall), microseconds(call.maxNanoseconds),
            ]
        }
        text += table(rows) + "\nthe longest\n"
        let stalls = longest.map { stall in
            [
                stall.name, "\(microseconds(stall.waitedNanoseconds)) us", "at \(seconds(stall.atNanoseconds)) s",
                "process \(stall.pid)", "thread \(stall.thread)",
            ]
        }
        text += table(stalls)
        if !advice.isEmpty { text += "\nadvice\n" + advice.map { "- \($0.text)\n" }.joined() }
        return text
    }
}

/// Columns as wide as their longest entry: the first to the left, numbers to the right.
private func table(_ rows: [[String]]) -> String {
    let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        row.enumerated().map { column, entry in
            let padding = String(repeating: " ", count: widths[column] - entry.count)
            return column == 0 ? entry + padding : padding + entry
        }.joined(separator: "  ") + "\n"
    }.joined()
}

private func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)" + (count == 1 ? "" : "s") }
private func seconds(_ nanoseconds: UInt64) -> String { decimal(nanoseconds / 1000, digits: 6) }
private func milliseconds(_ nanoseconds: UInt64) -> String { decimal(nanoseconds / 1000, digits: 3) }
private func microseconds(_ nanoseconds: UInt64) -> String { decimal(nanoseconds / 100, digits: 1) }

/// A whole number with the point before its last digits.
func decimal(_ number: UInt64, digits: Int) -> String {
    let text = String(number)
    let padded = String(repeating: "0", count: max(0, digits + 1 - text.count)) + text
    return padded.dropLast(digits) + "." + padded.suffix(digits)
}

// SPDX-License-Identifier: Apache-2.0

/// Text in cells of fixed or of found widths.
package enum TextTable {
    /// Text cut or filled to a width; the text at the left.
    package static func left(_ text: String, _ width: Int) -> String {
        let text = text.prefix(width)
        return text + String(repeating: " ", count: width - text.count)
    }

    /// Text cut or filled to a width; the text at the right.
    package static func right(_ text: String, _ width: Int) -> String {
        let text = text.prefix(width)
        return String(repeating: " ", count: width - text.count) + text
    }

    /// One text at each end of a line; the left one is cut where they would touch.
    package static func ends(_ first: String, _ last: String, _ width: Int) -> String {
        let room = max(0, width - last.count - (last.isEmpty ? 0 : 1))
        return left(first, room) + right(last, width - room)
    }

    /// Rows as lines, each column as wide as its widest cell; columns that hold numbers stand at the right.
    package static func lines(_ rows: [[String]], numbers: Set<Int> = [], indent: Int = 2) -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            let cells = row.enumerated().map { column, cell in
                numbers.contains(column) ? right(cell, widths[column]) : left(cell, widths[column])
            }
            var line = String(repeating: " ", count: indent) + cells.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

/// A number of 0 or more with so many digits behind the point.
package func fixed(_ value: Double, digits: Int) -> String {
    let scale = (0..<digits).reduce(1) { scale, _ in scale * 10 }
    let scaled = Int((value * Double(scale)).rounded())
    let fraction = String(scaled % scale)
    return "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
}

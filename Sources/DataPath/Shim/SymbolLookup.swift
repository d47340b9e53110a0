// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Glibc

/// Which exported symbol a base name means for a version of CUDA: the rules of `cuGetProcAddress`.
struct SymbolTable: Sendable {
    enum Answer: Equatable {
        case found(symbol: String)
        /// The name exists, but came with a later version.
        case newer
        case unknown
    }

    /// One variant of a function.
    ///
    /// Names are ranges of the table's text.
    private struct Row {
        var base: Range<Int>
        var since: Int32
        var isPerThread: Bool
        var symbol: Range<Int>
    }

    private let text: StaticString
    /// By ascending base name, as the table has them.
    private let rows: [Row]

    /// Reads lines of base name, version, `t` or `-`, and symbol.
    ///
    /// Every process that uses CUDA does this at its start.
    init(_ table: StaticString) {
        text = table
        let bytes = UnsafeBufferPointer(start: table.utf8Start, count: table.utf8CodeUnitCount)
        var rows: [Row] = []
        rows.reserveCapacity(1024)
        var position = 0
        func word() -> Range<Int> {
            let start = position
            while position < bytes.count, bytes[position] > UInt8(ascii: " ") { position += 1 }
            defer { position += 1 }
            return start..<position
        }
        while position < bytes.count {
            let base = word()
            let since = word().reduce(Int32(0)) { $0 * 10 + Int32(bytes[$1]) - Int32(UInt8(ascii: "0")) }
            let isPerThread = bytes[word().lowerBound] == UInt8(ascii: "t")
            rows.append(Row(base: base, since: since, isPerThread: isPerThread, symbol: word()))
        }
        self.rows = rows
    }

    /// The newest variant that `version` has; with `isPerThread` one whose default stream is the thread's own, if there
    /// is one.
    ///
    /// Exact exported names resolve too: some runtimes ask for one.
    func find(_ name: String, version: Int32, isPerThread: Bool) -> Answer {
        var name = name
        return name.withUTF8 { name in
            let first = firstRow(of: name)
            var legacy: Row?
            var perThread: Row?
            var isKnown = false
            for row in rows[first...] {
                guard compare(row.base, name) == 0 else { break }
                isKnown = true
                guard row.since <= version else { continue }
                if row.isPerThread { perThread = newer(row, perThread) } else { legacy = newer(row, legacy) }
            }
            if !isKnown, let exact = rows.first(where: { compare($0.symbol, name) == 0 }) {
                return exact.since <= version ? .found(symbol: string(exact.symbol)) : .newer
            }
            guard let found = isPerThread ? perThread ?? legacy : legacy else { return isKnown ? .newer : .unknown }
            return .found(symbol: string(found.symbol))
        }
    }

    private func newer(_ row: Row, _ other: Row?) -> Row {
        guard let other, other.since > row.since else { return row }
        return other
    }

    private func firstRow(of name: UnsafeBufferPointer<UInt8>) -> Int {
        var low = 0
        var high = rows.count
        while low < high {
            let middle = (low + high) / 2
            if compare(rows[middle].base, name) < 0 { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Negative, 0 or positive, as a part of the text comes before a name, is equal to it, or comes after it.
    private func compare(_ part: Range<Int>, _ name: UnsafeBufferPointer<UInt8>) -> Int {
        guard let start = name.baseAddress else { return part.count }
        let order = memcmp(text.utf8Start + part.lowerBound, start, min(part.count, name.count))
        return order == 0 ? part.count - name.count : Int(order)
    }

    private func string(_ part: Range<Int>) -> String {
        String(decoding: UnsafeBufferPointer(start: text.utf8Start + part.lowerBound, count: part.count), as: UTF8.self)
    }
}

/// `cuGetProcAddress` over this library's own exports.
struct SymbolLookup: Sendable {
    enum Answer {
        case found(UnsafeRawPointer)
        case newer, unknown
    }

    static let shared = SymbolLookup()

    private let table = SymbolTable(lookupTable)
    private let library: UInt

    private init() {
        // A program that links the exports without being a library, as a test does, is found by the loader itself.
        library = UInt(bitPattern: bitfusion_own_library() ?? dlopen(nil, RTLD_NOW))
    }

    func find(_ name: UnsafePointer<CChar>, version: Int32, isPerThread: Bool) -> Answer {
        switch table.find(String(cString: name), version: version, isPerThread: isPerThread) {
        case .newer: return .newer
        case .unknown: return .unknown
        case .found(let symbol):
            guard let address = dlsym(UnsafeMutableRawPointer(bitPattern: library), symbol) else { return .unknown }
            return .found(address)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Glibc

/// Which exported symbol a base name means for a version of CUDA: the rules of `cuGetProcAddress`.
struct SymbolTable {
    enum Answer: Equatable {
        case found(symbol: String)
        /// The name exists, but came with a later version.
        case newer
        case unknown
    }

    private struct Row {
        let since: Int32
        let isPerThread: Bool
        let symbol: String
    }

    /// The variants of each base name, by ascending version.
    private var variants: [String: [Row]] = [:]
    /// Exact exported names resolve too: some runtimes ask for one.
    private var exact: [String: Row] = [:]

    /// Reads lines of base name, version, `t` or `-`, symbol.
    init(_ table: StaticString) {
        let lines = String(
            decoding: UnsafeBufferPointer(start: table.utf8Start, count: table.utf8CodeUnitCount), as: UTF8.self)
        for line in lines.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 4, let since = Int32(words[1]) else { continue }
            let row = Row(since: since, isPerThread: words[2] == "t", symbol: String(words[3]))
            variants[String(words[0]), default: []].append(row)
            exact[row.symbol] = row
        }
        for name in variants.keys { variants[name]?.sort { $0.since < $1.since } }
    }

    var symbols: some Sequence<String> { exact.keys }

    /// The newest variant that `version` has; with `isPerThread` one whose default stream is the thread's own, if there is one.
    func find(_ name: String, version: Int32, isPerThread: Bool) -> Answer {
        let rows = variants[name] ?? exact[name].map { [$0] } ?? []
        if rows.isEmpty { return .unknown }
        let fitting = rows.filter { $0.since <= version }
        let isExact = variants[name] == nil
        if isPerThread || isExact, let row = fitting.last(where: { $0.isPerThread || isExact }) {
            return .found(symbol: row.symbol)
        }
        if let row = fitting.last(where: { !$0.isPerThread }) { return .found(symbol: row.symbol) }
        return .newer
    }
}

/// `cuGetProcAddress` over this library's own exports.
///
/// Every runtime in a process asks some 480 names at its start, so the addresses are found once.
struct SymbolLookup: Sendable {
    enum Answer {
        case found(UnsafeRawPointer)
        case newer, unknown
    }

    static let shared = SymbolLookup()

    private let table = SymbolTable(lookupTable)
    private let addresses: [String: UInt]

    private init() {
        // A program that links the exports without being a library, as a test does, is found by the loader itself.
        let library = bitfusion_own_library() ?? dlopen(nil, RTLD_NOW)
        var addresses: [String: UInt] = [:]
        for symbol in table.symbols {
            if let address = dlsym(library, symbol) { addresses[symbol] = UInt(bitPattern: address) }
        }
        self.addresses = addresses
    }

    func find(_ name: UnsafePointer<CChar>, version: Int32, isPerThread: Bool) -> Answer {
        switch table.find(String(cString: name), version: version, isPerThread: isPerThread) {
        case .newer: .newer
        case .unknown: .unknown
        case .found(let symbol):
            addresses[symbol].flatMap(UnsafeRawPointer.init(bitPattern:)).map(Answer.found) ?? .unknown
        }
    }
}

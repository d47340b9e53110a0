// SPDX-License-Identifier: Apache-2.0

/// The C functions of one family.
package func renderExports(_ family: Family) -> String {
    var text = header(imports: ["public import CCUDA", "import CallTrace", "import Driver"])
    let byName = Dictionary(uniqueKeysWithValues: cudaFunctions.map { ($0.name, $0) })
    text += family.functions.map { function -> String in
        switch function.answer {
        case .absent:
            var symbols = [function.name]
            if let perThread = function.perThread { symbols.append(function.name + perThread.suffix) }
            return symbols.map { "@c public func \($0)() -> CUresult { absent(.\($0)) }\n" }.joined(separator: "\n")
        case .shim:
            var exports = [
                function.export(
                    symbol: function.name, method: function, stream: function.perThread.map { _ in ".legacy" })
            ]
            if let perThread = function.perThread {
                exports.append(
                    function.export(symbol: function.name + perThread.suffix, method: function, stream: ".perThread"))
            }
            return exports.joined(separator: "\n")
        case .sameAs(let other):
            guard let method = byName[other] else { return "" }
            return function.export(symbol: function.name, method: method, stream: nil)
        }
    }.joined(separator: "\n")
    return text
}

extension Function {
    fileprivate func export(symbol: String, method: Function, stream: String?) -> String {
        let parameters = method.parameters.map { "_ \(escaped($0.name)): \($0.swiftType)" }.joined(separator: ", ")
        let list = (method.parameters.map { escaped($0.name) } + (stream.map { ["defaultStream: \($0)"] } ?? []))
            .joined(separator: ", ")
        let entry = method.needsInit ? "answer" : "answerAlways"
        let record = method.parameters.isEmpty ? "" : ", { \(method.tracedArguments) }"
        return """
            @c public func \(symbol)(\(parameters)) -> CUresult {
                \(entry)(.\(symbol)\(record)) { shim throws(CUDAError) in try shim.\(method.name)(\(list)) }
            }

            """
    }

    /// The statements with which a call trace records the arguments.
    ///
    /// The first parameters, as long as they are places of results, are recorded with what the call put there; those of
    /// batches are arrays.
    private var tracedArguments: String {
        var areResults = !name.contains("Batch")
        return parameters.map { parameter in
            let label = areResults ? parameter.resultLabel : nil
            areResults = label != nil
            return "$0.add(\(label ?? parameter.valueLabel)\(escaped(parameter.name)))"
        }.joined(separator: "; ")
    }
}

extension Parameter {
    /// How a call trace writes what the call puts at a place; nil when it is none, or a structure.
    fileprivate var resultLabel: String? {
        let prefix = "UnsafeMutablePointer<"
        guard swiftType.hasPrefix(prefix) else { return nil }
        switch swiftType.dropFirst(prefix.count).dropLast(2) {
        case "CUdeviceptr", "OpaquePointer?", "UnsafeMutableRawPointer?": return "made: "
        case "Int", "Int32", "UInt32", "CUdevice": return "result: "
        default: return nil
        }
    }

    /// Numbers that are addresses and objects are written as such.
    fileprivate var valueLabel: String {
        ["CUdeviceptr", "CUtexObject", "CUsurfObject"].contains(swiftType) ? "handle: " : ""
    }
}

/// The exported functions by number, and the names of their parameters for a call trace.
package func renderExportList(_ functions: [Function]) -> String {
    let byName = Dictionary(uniqueKeysWithValues: functions.map { ($0.name, $0) })
    var names: [(symbol: String, parameters: [Parameter])] = []
    for function in functions {
        let method = if case .sameAs(let other) = function.answer { byName[other] ?? function } else { function }
        let isAbsent = if case .absent = function.answer { true } else { false }
        let parameters = isAbsent ? [] : method.parameters
        names.append((function.name, parameters))
        if let perThread = function.perThread { names.append((function.name + perThread.suffix, parameters)) }
    }
    var text = header(imports: ["import CallTrace"])
    text += "/// The exported functions, in the order of the description.\nenum Export: UInt16 {\n"
    text += names.map { "    case \($0.symbol)\n" }.joined() + "}\n\n"
    text += "/// Their names and those of their parameters, a line each.\n"
    text += "let exportList = CallList(driver: \"\"\"\n"
    text += names.map { "    \(([$0.symbol] + $0.parameters.map(\.name)).joined(separator: " "))\n" }.joined()
    return text + "    \"\"\")\n"
}

/// A C name that is a word of Swift, in a form that Swift takes as a name.
private func escaped(_ name: String) -> String { name == "func" ? "`func`" : name }

/// The table behind `cuGetProcAddress`: sorted by base name, then version.
package func renderLookup(_ functions: [Function]) -> String {
    struct Row {
        let base: String
        let since: Int
        let perThread: Bool
        let symbol: String
    }
    var rows: [Row] = []
    for function in functions where function.since > 0 {
        rows.append(Row(base: function.baseName, since: function.since, perThread: false, symbol: function.name))
        if let perThread = function.perThread {
            rows.append(
                Row(
                    base: function.baseName, since: perThread.since, perThread: true,
                    symbol: function.name + perThread.suffix))
        }
    }
    rows.sort { ($0.base, $0.perThread ? 1 : 0, $0.since) < ($1.base, $1.perThread ? 1 : 0, $1.since) }
    var text = header(imports: [])
    text +=
        "/// Base name, version, `t` where the default stream is the thread's own, and exported symbol, a line each.\n"
    text += "let lookupTable: StaticString = \"\"\"\n"
    for row in rows { text += "    \(row.base) \(row.since) \(row.perThread ? "t" : "-") \(row.symbol)\n" }
    return text + "    \"\"\"\n"
}

/// The page that says what is implemented.
package func renderCoverage(_ families: [Family]) -> String {
    let functions = families.flatMap(\.functions)
    let symbols = functions.reduce(0) { $0 + ($1.perThread == nil ? 1 : 2) }
    let built = functions.filter { if case .absent = $0.answer { false } else { true } }
    let builtSymbols = built.reduce(0) { $0 + ($1.perThread == nil ? 1 : 2) }
    var text = "<!-- Generated by `swift run generate` from Sources/API/CUDADescription. Do not edit. -->\n"
    text += "# CUDA driver API: what is implemented\n\n"
    text +=
        "\(builtSymbols) of \(symbols) exported symbols are implemented; the others return CUDA_ERROR_NOT_SUPPORTED.\n"
    text += "Names with `+t` also have the variant whose default stream is the thread's own (`_ptds`, `_ptsz`).\n"
    for family in families {
        text += "\n## \(family.title)\n\n| function | since | state |\n|---|---|---|\n"
        for function in family.functions {
            let state =
                switch function.answer {
                case .shim: "implemented"
                case .sameAs(let other): "implemented, as `\(other)`"
                case .absent(let reason): "not supported: \(reason.rawValue)"
                }
            let since = function.since == 0 ? "" : "\(function.since / 1000).\(function.since % 1000 / 10)"
            text += "| `\(function.name)`\(function.perThread == nil ? "" : " +t") | \(since) | \(state) |\n"
        }
    }
    return text
}

// SPDX-License-Identifier: Apache-2.0

/// The C functions of one family.
package func renderExports(_ family: ManagementFamily) -> String {
    let bodies = family.functions.map { function -> String in
        switch function.answer {
        case .refused: return "@c public func \(function.name)() -> UInt32 { refused(.\(function.name)) }\n"
        case .absent: return "@c public func \(function.name)() -> UInt32 { absent(.\(function.name)) }\n"
        case .asked, .known, .shim, .relayed, .sameAs: return function.export
        }
    }
    let asks = bodies.contains { $0.contains("ask(.") }
    return header(imports: ["import CallTrace"] + (asks ? ["import Management"] : []))
        + bodies.joined(separator: "\n")
}

extension ManagementFunction {
    fileprivate var export: String {
        let target = target
        let parameters = target.parameters.flatMap(\.cParameters)
        let declaration = parameters.map { "_ \($0.name): \($0.type)" }.joined(separator: ", ")
        let call: String
        if target.isAsked {
            call = "ask(.\(target.name), \(target.parameters.map(\.argument).joined(separator: ", ")))"
        } else {
            call = "Library.shared.\(target.name)(\(parameters.map(\.name).joined(separator: ", ")))"
        }
        let type = target.name == "nvmlErrorString" ? "UnsafePointer<CChar>?" : "UInt32"
        let traced = target.parameters.flatMap(\.traced).joined(separator: "; ")
        let entry = type == "UInt32" ? "traced" : "tracedText"
        return """
            @c public func \(name)(\(declaration)) -> \(type) {
                \(entry)(.\(name)\(traced.isEmpty ? "" : ", { \(traced) }")) { \(call) }
            }

            """
    }
}

extension ManagementParameter {
    /// The parameters of the C function, with the Swift types as which they arrive.
    var cParameters: [(name: String, type: String)] {
        let pointer = "UnsafeMutableRawPointer?"
        let count = "UnsafeMutablePointer<UInt32>?"
        switch passing {
        case .device, .madeDevice, .result, .exchanged, .versioned, .pointer: return [(name, pointer)]
        case .value(let type): return [(name, type)]
        case .text: return [(name, "UnsafePointer<CChar>?")]
        case .buffer: return [(name, pointer), ("length", "UInt32")]
        case .block: return [(name, pointer), ("byteCount", "UInt32")]
        case .list(let elements):
            return [("count", count)]
                + (elements.count == 1 ? [(name, pointer)] : elements.indices.map { ("\(name)\($0)", pointer) })
        case .counted: return [(name, pointer), ("count", count)]
        case .devices: return [("count", count), (name, pointer)]
        case .exchangedArray: return [("count", "Int32"), (name, pointer)]
        case .count: return [(name, count)]
        }
    }

    /// The statements with which a call trace records the argument.
    fileprivate var traced: [String] {
        switch passing {
        case .madeDevice: ["$0.add(made: \(name))"]
        case .result(let byteCount) where byteCount == 4 || byteCount == 8:
            ["$0.add(result: \(name), byteCount: \(byteCount))"]
        default: cParameters.map { "$0.add(\($0.name))" }
        }
    }

    /// The `Argument` with which the shim passes it on.
    fileprivate var argument: String {
        switch passing {
        case .device: ".device(\(name))"
        case .madeDevice: ".madeDevice(\(name))"
        case .value: ".value(\(name))"
        case .text: ".text(\(name))"
        case .result(let byteCount): ".result(\(name), \(byteCount))"
        case .exchanged(let byteCount): ".exchanged(\(name), \(byteCount))"
        case .versioned: ".versioned(\(name))"
        case .buffer: ".buffer(\(name), length)"
        case .block: ".block(\(name), byteCount)"
        case .list(let elements):
            ".list(count, ["
                + zip(cParameters.dropFirst(), elements).map { "(\($0.name), \($1))" }.joined(separator: ", ") + "])"
        case .counted(let byteCount): ".list(count, [(\(name), \(byteCount))])"
        case .devices: ".devices(count, \(name))"
        case .exchangedArray(let byteCount): ".exchangedArray(count, \(name), \(byteCount))"
        case .pointer, .count: ""
        }
    }
}

/// The exported functions by number, and the names of their parameters for a call trace.
package func renderExportList(_ functions: [ManagementFunction]) -> String {
    var text = header(imports: ["import CallTrace"])
    text += "/// The exported functions, in the order of the description.\nenum Export: UInt16 {\n"
    text += functions.map { "    case \($0.name)\n" }.joined() + "}\n\n"
    text += "/// Their names and those of their parameters, a line each.\n"
    text += "let exportList = CallList(management: \"\"\"\n"
    for function in functions {
        let isBare =
            switch function.answer {
            case .refused, .absent: true
            default: false
            }
        let parameters = isBare ? [] : function.target.parameters.flatMap(\.cParameters).map(\.name)
        text += "    \(([function.name] + parameters).joined(separator: " "))\n"
    }
    return text + "    \"\"\")\n"
}

// SPDX-License-Identifier: Apache-2.0

/// The host half: each call becomes a call of a libcuda.so.1 that was opened.
package func renderHost(_ calls: [DriverCall]) -> String {
    var text = header(imports: ["package import CCUDA", "package import Driver"])
    let printed = calls.filter { !$0.isByHand && !$0.isHostByHand }
    text += "/// The functions of an opened libcuda.so.1; nil where it lacks one.\n"
    text += "struct HostFunctions: Sendable {\n"
    for call in printed {
        text += "    let \(call.name): (@convention(c) (\(call.cTypes.joined(separator: ", "))) -> CUresult)?\n"
    }
    text += "\n    init(_ library: borrowing DriverLibrary) {\n"
    for call in printed { text += "        \(call.name) = library.function(\"\(call.name)\")\n" }
    text += "    }\n}\n\nextension HostDriver {\n"
    for (index, call) in printed.enumerated() {
        text += (index == 0 ? "" : "\n") + "    package \(call.declaration) {\n\(call.hostBody)    }\n"
    }
    return text + "}\n"
}

extension DriverCall {
    var isHostByHand: Bool { if case .hostByHand = halves { true } else { false } }

    fileprivate var cTypes: [String] {
        parameters.flatMap { parameter -> [String] in
            switch parameter.passing {
            case .value(let type): [type.rawValue]
            case .result(let type): ["UnsafeMutablePointer<\(type.rawValue)>?"]
            case .used, .ended: ["UInt64"]
            case .made: ["UnsafeMutablePointer<UInt64>?"]
            case .readBlock: ["UnsafeRawPointer?", "Int"]
            case .text: ["UnsafePointer<CChar>?"]
            }
        }
    }

    fileprivate var hostBody: String {
        var lines = ["guard let function = functions.\(name) else { throw .notSupported }"]
        if isInContext { lines.append("try makeCurrent(context)") }
        if made != nil { lines.append("var made: UInt64 = 0") }
        lines += results.map { "var \($0.name): \($0.type.rawValue) = 0" }
        var call =
            "function("
            + parameters.map { parameter in
                switch parameter.passing {
                case .value: parameter.name
                case .result: "&\(parameter.name)"
                case .used, .ended: "\(parameter.name).bits"
                case .made: "&made"
                case .readBlock: "bytes.baseAddress, bytes.count"
                case .text: "characters"
                }
            }.joined(separator: ", ") + ")"
        for parameter in parameters {
            switch parameter.passing {
            case .readBlock: call = "\(parameter.name).withUnsafeBytes { bytes in \(call) }"
            case .text: call = "\(parameter.name).withCString { characters in \(call) }"
            default: break
            }
        }
        lines.append("try check(\(call))")
        if let made {
            lines.append("return \(made.kind.rawValue)(bits: made)")
        } else if results.count == 1 {
            lines.append("return \(results[0].name)")
        } else if results.count > 1 {
            lines.append("return (\(results.map(\.name).joined(separator: ", ")))")
        }
        return lines.map { "        \($0)\n" }.joined()
    }
}

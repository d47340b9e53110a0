// SPDX-License-Identifier: Apache-2.0

/// The server's half: each question becomes a call of the opened library.
package func renderHost(_ functions: [ManagementFunction]) -> String {
    var text = header(imports: ["import Management"])
    text += "extension HostManagement {\n"
    text += "    /// Calls the library's function, or says that it has none of that name.\n    ///\n"
    text += "    /// SAFETY: the types are those of the public interface.\n"
    text +=
        "    func call(_ call: ManagementCall, _ arguments: inout HostArguments) throws(MalformedQuestion) -> UInt32 {\n"
    text += "        switch call {\n"
    for function in functions where function.isAsked {
        text += "        case .\(function.name):\n" + function.hostBody
    }
    text += "        // In forms of their own, which are read elsewhere.\n"
    text += "        case " + functions.filter(\.isRelayed).map { ".\($0.name)" }.joined(separator: ", ") + ":\n"
    text += "            throw MalformedQuestion()\n"
    return text + "        }\n    }\n}\n"
}

extension ManagementFunction {
    fileprivate var hostBody: String {
        let types = parameters.flatMap(\.hostTypes).joined(separator: ", ")
        let reads = parameters.map { "let \($0.name) = try arguments.\($0.hostRead)" }
        let list = parameters.flatMap(\.hostValues).joined(separator: ", ")
        let lines =
            reads + [
                "try arguments.finish()",
                "guard let function: @convention(c) (\(types)) -> UInt32 = library.function(call.rawValue) else {",
                "    return NVMLCode.functionNotFound",
                "}",
                "return function(\(list))",
            ]
        return lines.map { "            \($0)\n" }.joined()
    }
}

extension ManagementParameter {
    /// The C function's types.
    fileprivate var hostTypes: [String] {
        cParameters.map { parameter in
            parameter.type == "UnsafePointer<CChar>?" || parameter.type == "UnsafeMutablePointer<UInt32>?"
                ? "UnsafeMutableRawPointer?" : parameter.type
        }
    }

    /// The call that reads it from the question and makes room for its answer.
    fileprivate var hostRead: String {
        switch passing {
        case .device: "device()"
        case .madeDevice: "madeDevice()"
        case .value(let type): "value(\(type).self)"
        case .text: "text()"
        case .result(let byteCount): "result(\(byteCount))"
        case .exchanged(let byteCount): "exchanged(\(byteCount))"
        case .versioned: "versioned()"
        case .buffer: "buffer()"
        case .block: "block()"
        case .list(let elements): "list(\(elements))"
        case .counted(let byteCount): "list([\(byteCount)])"
        case .devices: "deviceList()"
        case .exchangedArray(let byteCount): "exchangedArray(\(byteCount))"
        case .pointer, .count: ""
        }
    }

    /// The values that the C function is given.
    fileprivate var hostValues: [String] {
        switch passing {
        case .buffer, .block: ["\(name).start", "\(name).count"]
        case .exchangedArray: ["\(name).count", "\(name).start"]
        case .list(let elements): ["\(name).count"] + elements.indices.map { "\(name).arrays[\($0)]" }
        case .counted: ["\(name).arrays[0]", "\(name).count"]
        case .devices: ["\(name).count", "\(name).start"]
        default: [name]
        }
    }
}

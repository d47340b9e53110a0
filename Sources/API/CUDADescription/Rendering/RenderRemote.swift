// SPDX-License-Identifier: Apache-2.0

/// The client's half: each call becomes a frame.
package func renderRemote(_ calls: [DriverCall]) -> String {
    var text = header(imports: ["package import CCUDA", "package import Driver", "import Wire"])
    text += "extension RemoteDriver {\n"
    for (index, call) in calls.enumerated() where !call.isByHand && !call.isRemoteByHand && !call.isRemoteHalfByHand {
        text += (index == 0 ? "" : "\n") + "    package \(call.declaration) {\n"
        if let made = call.made { text += "        let made = \(made.kind.rawValue)(bits: newHandle())\n" }
        text += call.remoteBody
        text += "    }\n"
    }
    return text + "}\n"
}

extension DriverCall {
    var isRemoteByHand: Bool { if case .remoteByHand = halves { true } else { false } }

    fileprivate var isRemoteHalfByHand: Bool { if case .remoteHalfByHand = halves { true } else { false } }

    fileprivate var remoteBody: String {
        let context = isInContext ? "context" : "ContextHandle(bits: 0)"
        let block = arguments.first { if case .readBlock = $0.passing { true } else { false } }
        let writes = (made == nil ? [] : ["frame.write(made.bits)"]) + arguments.compactMap(\.remoteWrite)
        let opening = writes.isEmpty ? "{ _ in }" : "{ frame in"
        let closing = writes.isEmpty ? "" : "\n" + writes.map { "            \($0)\n" }.joined() + "        }"
        var text = ""
        switch waiting {
        case .posts:
            let stream = arguments.first { if case .used(.stream) = $0.passing { true } else { false } }
            let tail =
                (stream.map { ", stream: \($0.name)" } ?? "") + (block.map { ", block: \($0.name)" } ?? "")
            text += "        try post(.\(name), \(context), byteCount: \(payloadBytes)\(tail)) \(opening)\(closing)\n"
            if made != nil { text += "        return made\n" }
        case .waits:
            let call = "try call(.\(name), \(context), byteCount: \(payloadBytes)) \(opening)\(closing)"
            if results.isEmpty {
                text += "        _ = \(call)\n"
                if made != nil { text += "        return made\n" }
            } else {
                text += "        var reply = \(call)\n"
                let reads = results.map { "reply.read(\($0.type.rawValue).self)" }
                text +=
                    results.count == 1
                    ? "        return \(reads[0])\n"
                    : "        return (\(reads.joined(separator: ", ")))\n"
            }
        }
        return text
    }

    /// How many bytes the frame's values take, as a Swift expression.
    private var payloadBytes: String {
        var fixed = made == nil ? 0 : 8
        var variable = ""
        for argument in arguments {
            switch argument.passing {
            case .value(let type): fixed += type.byteCount
            case .used, .ended: fixed += 8
            case .text: variable += " + textByteCount(\(argument.name))"
            case .result, .made, .readBlock: break
            }
        }
        return "\(fixed)\(variable)"
    }
}

extension DriverParameter {
    /// The statement that puts an argument into the frame.
    ///
    /// A block follows the frame's values.
    fileprivate var remoteWrite: String? {
        switch passing {
        case .value: "frame.write(\(name))"
        case .used, .ended: "frame.write(\(name).bits)"
        case .text: "frame.write(text: \(name))"
        case .result, .made, .readBlock: nil
        }
    }
}

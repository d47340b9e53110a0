// SPDX-License-Identifier: Apache-2.0

/// The server's half: each frame becomes a call of the driver.
package func renderSession(_ calls: [DriverCall]) -> String {
    var text = header(imports: ["import CCUDA", "import Driver", "import Wire"])
    text += "extension Session {\n"
    text +=
        "    /// Performs one call. A refusal of the driver is thrown as `CUDAError`, a malformed frame as `WireError`.\n"
    text +=
        "    func perform(\n        _ call: Call, _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter\n"
    text += "    ) throws {\n        switch call {\n"
    for call in calls {
        text += "        case .\(call.name):\n"
        if call.isByHand || call.isRemoteByHand {
            text += "            try perform_\(call.name)(frame, &request, &reply)\n"
        } else {
            text += call.sessionBody
        }
    }
    return text + "        }\n    }\n}\n"
}

extension DriverCall {
    fileprivate var sessionBody: String {
        var lines: [String] = []
        if made != nil { lines.append("let made = try request.read(UInt64.self)") }
        for argument in arguments {
            switch argument.passing {
            case .value(let type): lines.append("let \(argument.name) = try request.read(\(type.rawValue).self)")
            case .used, .ended: lines.append("let \(argument.name) = try request.read(UInt64.self)")
            case .text: lines.append("let \(argument.name) = try request.readText()")
            case .result, .made, .readBlock: break
            }
        }
        // A block is what is left of the frame behind the values, wherever it stands in C.
        for argument in arguments {
            if case .readBlock = argument.passing { lines.append("let \(argument.name) = try request.readBlock()") }
        }
        lines.append("try request.finish()")
        let list = callList(context: "contexts.driverHandle(frame.context)") { argument in
            switch argument.passing {
            case .used(let kind), .ended(let kind): "\(kind.table).driverHandle(\(argument.name))"
            default: argument.name
            }
        }
        for argument in arguments {
            if case .ended(.context) = argument.passing { lines.append("try freeLandings(of: \(argument.name))") }
            if case .ended(.stream) = argument.passing { lines.append("try rememberWork(of: \(argument.name), frame)") }
        }
        let call = "try driver.\(name)(\(list))"
        if let made {
            lines.append("try \(made.kind.table).insert(made, \(call.dropFirst("try ".count)))")
        } else if results.count == 1 {
            lines.append("reply.write(\(call))")
        } else if results.count > 1 {
            lines.append("let results = \(call)")
            lines += results.map { "reply.write(results.\($0.name))" }
        } else {
            lines.append(call)
        }
        if made?.kind == .stream { lines.append("contextOfStream[made] = frame.context") }
        if name == "cuGreenCtxStreamCreate" { lines.append("greenContextOfStream[made] = greenCtx") }
        if name == "cuMipmappedArrayGetLevel" {
            lines.append("levelsOfMipmappedArray[hMipmappedArray, default: []].append(made)")
        }
        if name == "cuDevicePrimaryCtxRetain" { lines.append("primaryContexts[dev] = try contexts.driverHandle(made)") }
        for argument in arguments {
            guard case .ended(let kind) = argument.passing else { continue }
            lines.append("\(kind.table).remove(\(argument.name))")
            if kind == .context { lines.append("forgetStreams(of: \(argument.name))") }
            if kind == .mipmappedArray { lines.append("forgetLevels(of: \(argument.name))") }
            if kind == .greenContext { lines.append("detachStreams(of: \(argument.name))") }
            if kind == .stream { lines.append("greenContextOfStream[\(argument.name)] = nil") }
            if kind == .stream { lines.append("contextOfStream[\(argument.name)] = nil") }
        }
        return lines.map { "            \($0)\n" }.joined()
    }
}

// SPDX-License-Identifier: Apache-2.0
import TraceFormat

/// Prints calls in the JSON form of Chrome's trace viewer, which Perfetto opens too: one row a thread.
package struct ChromeTrace {
    private var isFirst = true
    private var knownThreads: Set<UInt64> = []
    private var kernels = KernelNames()
    private let origin: UInt64

    /// Times are shown from `origin` on, a time of the monotonic clock.
    package init(origin: UInt64) { self.origin = origin }

    package var head: String { "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n" }
    package var tail: String { "\n]}\n" }

    /// The event that names a process.
    package mutating func event(process: UInt32, program: String) -> String {
        separator() + "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": \(process), \"args\": {\"name\": "
            + quoted(program) + "}}"
    }

    /// The event of a call, and the name of its thread before the first one.
    package mutating func event(_ call: TracedCall) -> String {
        var text = ""
        if knownThreads.insert(UInt64(call.processID) << 32 | UInt64(call.thread)).inserted {
            text += separator() + "{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": \(call.processID), "
            text += "\"tid\": \(call.thread), \"args\": {\"name\": \"thread \(call.thread)\"}}"
        }
        kernels.learn(call)
        var arguments = call.arguments.enumerated().map { index, argument in
            let name = call.parameters.indices.contains(index) ? call.parameters[index] : "\(index)"
            return "\(quoted(name)): \(quoted(argument.text))"
        }
        if let kernel = kernels.name(of: call) { arguments.append("\"kernel\": \(quoted(kernel))") }
        arguments.append("\"result\": \(call.result)")
        if call.waits > 0 {
            arguments.append("\"replies waited for\": \(call.waits)")
            arguments.append("\"waited us\": \(microseconds(call.waitedNanoseconds))")
        }
        let start = call.startNanoseconds > origin ? call.startNanoseconds - origin : 0
        text += separator() + "{\"name\": \(quoted(call.name)), \"cat\": \"\(category(of: call))\", \"ph\": \"X\", "
        text += "\"ts\": \(microseconds(start)), \"dur\": \(microseconds(call.durationNanoseconds)), "
        text += "\"pid\": \(call.processID), \"tid\": \(call.thread), \"args\": {"
        return text + arguments.joined(separator: ", ") + "}}"
    }

    private mutating func separator() -> String {
        defer { isFirst = false }
        return isFirst ? "" : ",\n"
    }

    private func category(of call: TracedCall) -> String {
        switch call.library {
        case .driver: call.waits > 0 ? "cuda,network" : "cuda"
        case .management: call.waits > 0 ? "nvml,network" : "nvml"
        }
    }

    private func microseconds(_ nanoseconds: UInt64) -> String { decimal(nanoseconds, digits: 3) }
}

/// The names of kernels by their handles, as far as a trace tells them.
struct KernelNames {
    private struct Handle: Hashable {
        let processID: UInt32
        let bits: UInt64
    }

    private var names: [Handle: String] = [:]

    /// Remembers what a call that looks up a kernel tells.
    mutating func learn(_ call: TracedCall) {
        guard call.result == 0, let first = call.arguments.first, case .made(_, let bits) = first else { return }
        if ["cuModuleGetFunction", "cuLibraryGetKernel"].contains(call.baseName),
            case .text(let name, _)? = call.argument("name")
        {
            names[Handle(processID: call.processID, bits: bits)] = name
        } else if call.baseName == "cuKernelGetFunction", let kernel = call.argument("kernel")?.number,
            let name = names[Handle(processID: call.processID, bits: kernel)]
        {
            names[Handle(processID: call.processID, bits: bits)] = name
        }
    }

    /// The kernel that a call launches.
    func name(of call: TracedCall) -> String? {
        guard call.baseName.hasPrefix("cuLaunch"), let function = call.argument("f")?.number else { return nil }
        return names[Handle(processID: call.processID, bits: function)]
    }
}

/// A text as JSON writes it.
func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case _ where scalar.value < 0x20:
            let digits = String(scalar.value, radix: 16)
            result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}

// SPDX-License-Identifier: Apache-2.0
package import TraceFormat

/// One recorded call.
package struct TracedCall: Sendable, Equatable {
    package var processID: UInt32
    package var thread: UInt32
    package var library: TraceFormat.Library
    package var name: String
    /// The names of the function's parameters, as far as they are known.
    package var parameters: [String]
    package var arguments: [TracedArgument]
    /// A CUresult or an nvmlReturn_t.
    package var result: UInt32
    /// By the monotonic clock of the machine.
    package var startNanoseconds: UInt64
    package var durationNanoseconds: UInt64
    /// How many replies it waited for, and for how long.
    package var waits: UInt64
    package var waitedNanoseconds: UInt64

    package var endNanoseconds: UInt64 { startNanoseconds &+ durationNanoseconds }

    /// The argument of a parameter.
    package func argument(_ name: String) -> TracedArgument? {
        guard let index = parameters.firstIndex(of: name), arguments.indices.contains(index) else { return nil }
        return arguments[index]
    }

    /// The name without the version and the kind of default stream: `cuMemcpyHtoD` for `cuMemcpyHtoD_v2_ptds`.
    package var baseName: String { String(name.prefix { $0 != "_" }) }
}

/// An argument as it was recorded.
package enum TracedArgument: Sendable, Equatable {
    case opaque
    case signed(Int64)
    case unsigned(UInt64)
    case hexadecimal(UInt64)
    case float(Float)
    case text(String, isCut: Bool)
    /// The handle or address that the call put at a place.
    case made(place: UInt64, UInt64)
    case result(place: UInt64, Int64)
    /// There was no place for this one and those that follow.
    case cut

    /// As C would write it, as far as that is possible.
    package var text: String {
        switch self {
        case .opaque: "{...}"
        case .signed(let value): "\(value)"
        case .unsigned(let value): "\(value)"
        case .hexadecimal(let value): value == 0 ? "NULL" : "0x" + String(value, radix: 16)
        case .float(let value): "\(value)"
        case .text(let text, let isCut): "\"\(text)\"" + (isCut ? "..." : "")
        case .made(_, let value): "-> 0x" + String(value, radix: 16)
        case .result(_, let value): "-> \(value)"
        case .cut: "..."
        }
    }

    /// The number that was passed, or that came back.
    package var number: UInt64? {
        switch self {
        case .signed(let value), .result(_, let value): UInt64(exactly: value)
        case .unsigned(let value), .hexadecimal(let value), .made(_, let value): value
        case .opaque, .float, .text, .cut: nil
        }
    }
}

/// The process that began a trace.
package struct TracedProcess: Sendable, Equatable {
    package let pid: UInt32
    package let program: String
    /// Seconds since 1970.
    package let began: Double

    package init(_ header: TraceHeader) {
        pid = header.processID
        program = header.programName
        began = Double(header.realNanoseconds) / 1e9
    }
}

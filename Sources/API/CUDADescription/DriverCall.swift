// SPDX-License-Identifier: Apache-2.0

/// One call of the `Driver` protocol: what a driver is asked to do, in the shape in which it travels.
///
/// The protocol, the call numbers, the remote half, the session half and the host half are printed from these values,
/// so the two ends of the wire cannot disagree. The position in ``driverCalls`` is the number on the wire: append,
/// never reorder.
package struct DriverCall: Sendable {
    package enum Waiting: Sendable {
        /// Only enqueues work or makes a handle: sent and forgotten; a failure is reported by a later call.
        case posts
        /// The caller needs the outcome.
        case waits
    }

    package enum Halves: Sendable {
        /// Both halves are printed from the parameters.
        case generated
        /// The remote half and the session half are written by hand; the host half is printed.
        case remoteByHand
        /// The remote half is written by hand, the others are printed.
        case remoteHalfByHand
        /// The protocol has the declaration given here, and every half is written by hand.
        case byHand(declaration: String)
        /// The remote and the session half are printed, the host half is written by hand.
        case hostByHand
    }

    /// The CUDA function that a host driver calls.
    package let name: String
    package let waiting: Waiting
    /// Whether the call runs in a context, which then is its first argument.
    package let isInContext: Bool
    package let halves: Halves
    package let parameters: [DriverParameter]
    /// What the call does, units and errors included: the documentation of the protocol's requirement.
    package let summary: String

    init(
        _ name: String, _ waiting: Waiting, inContext isInContext: Bool = true, _ halves: Halves,
        _ parameters: [DriverParameter], _ summary: String
    ) {
        self.name = name
        self.waiting = waiting
        self.isInContext = isInContext
        self.halves = halves
        self.parameters = parameters
        self.summary = summary
    }

    init(
        _ name: String, _ waiting: Waiting, inContext isInContext: Bool = true, _ parameters: [DriverParameter],
        _ summary: String
    ) {
        self.init(name, waiting, inContext: isInContext, .generated, parameters, summary)
    }

    init(
        _ name: String, _ waiting: Waiting, inContext isInContext: Bool = true, _ halves: Halves, _ summary: String
    ) {
        self.init(name, waiting, inContext: isInContext, halves, [], summary)
    }
}

/// The kinds of handles.
///
/// Raw values are the Swift types' names.
package enum HandleKind: String, Sendable, CaseIterable {
    case context = "ContextHandle"
    case module = "ModuleHandle"
    case function = "FunctionHandle"
    case stream = "StreamHandle"
    case event = "EventHandle"
    case pool = "MemoryPoolHandle"
    case physicalMemory = "PhysicalMemoryHandle"
    case graph = "GraphHandle"
    case graphDraft = "GraphDraftHandle"
    case array = "ArrayHandle"
    case mipmappedArray = "MipmappedArrayHandle"
    case greenContext = "GreenContextHandle"

    /// The table of the session that maps the client's number to the driver's handle.
    package var table: String {
        switch self {
        case .context: "contexts"
        case .module: "modules"
        case .function: "functions"
        case .stream: "streams"
        case .event: "events"
        case .pool: "pools"
        case .physicalMemory: "physicalMemory"
        case .graph: "graphs"
        case .graphDraft: "graphDrafts"
        case .array: "arrays"
        case .mipmappedArray: "mipmappedArrays"
        case .greenContext: "greenContexts"
        }
    }
}

/// A value as it travels, with the C type it has in the CUDA function.
package enum Scalar: String, Sendable {
    case int32 = "Int32"
    case uint32 = "UInt32"
    case uint8 = "UInt8"
    case uint16 = "UInt16"
    case uint64 = "UInt64"
    /// A count of bytes or elements: size_t.
    case size = "Int"
    case float = "Float"
    case devicePointer = "CUdeviceptr"
    /// What another process of the allocation opens.
    case shareableHandle = "ShareableHandle"

    package var byteCount: Int {
        switch self {
        case .shareableHandle: 64
        case .uint8: 1
        case .uint16: 2
        case .int32, .uint32, .float: 4
        case .uint64, .size, .devicePointer: 8
        }
    }
}

/// One parameter of a ``DriverCall``, in the order of the C function.
package struct DriverParameter: Sendable {
    package enum Passing: Sendable {
        case value(Scalar)
        case result(Scalar)
        case used(HandleKind)
        /// A handle that the call makes; a remote driver chooses its number without waiting.
        case made(HandleKind)
        /// A handle that the call ends.
        case ended(HandleKind)
        /// Memory that the driver reads; followed in C by its size.
        case readBlock
        /// A NUL-terminated string.
        case text
    }

    package let name: String
    package let passing: Passing

    static func value(_ name: String, _ type: Scalar) -> Self { Self(name: name, passing: .value(type)) }
    static func result(_ name: String, _ type: Scalar) -> Self { Self(name: name, passing: .result(type)) }
    static func used(_ name: String, _ kind: HandleKind) -> Self { Self(name: name, passing: .used(kind)) }
    static func made(_ name: String, _ kind: HandleKind) -> Self { Self(name: name, passing: .made(kind)) }
    static func ended(_ name: String, _ kind: HandleKind) -> Self { Self(name: name, passing: .ended(kind)) }
    static func readBlock(_ name: String) -> Self { Self(name: name, passing: .readBlock) }
    static func text(_ name: String) -> Self { Self(name: name, passing: .text) }
}

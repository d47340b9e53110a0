// SPDX-License-Identifier: Apache-2.0

/// One exported function of the CUDA driver API, described once.
///
/// The C exports, the `cuGetProcAddress` table and the coverage page are printed from these values. What travels to the
/// server is described beside it, as ``DriverCall``.
package struct Function: Sendable {
    /// Why a function answers CUDA_ERROR_NOT_SUPPORTED.
    package enum Absence: String, Sendable {
        case later = "not built yet"
        case graphics = "needs the graphics system or other drivers of the client machine"
        case fabric = "needs devices that share a switch or a fabric, which the devices of a client do not say they do"
        case decompression = "needs a GPU's decompression engine, which devices say they do not have"
        case sparse = "is for sparse arrays and arrays without memory, which devices say they do not have"
        case serverKernel = "answers with a descriptor for other drivers of the machine that has the GPU"
        case recapture =
            "captured work is not compared with nodes that are there, node by node; capture anew and update"
        case windows = "tells the display adapter's LUID, which only Windows has"
        case nvSciSync = "NvSciSync is a library of NVIDIA's embedded platforms, which share memory with the GPU"
        case checkpoints =
            "the state of a checkpoint would have to leave the server's driver, which keeps it with its own process"
        case profiler = "answers CUDA_ERROR_NOT_SUPPORTED in every driver since CUDA 12.0, as documented"
        case thirtyTwoBit = "form from before CUDA 3.2 with 32-bit device pointers and sizes"
    }

    package enum Answer: Sendable {
        /// `Shim` has a method of the same name and parameters.
        case shim
        /// The same function under an older name.
        case sameAs(String)
        case absent(Absence)
    }

    /// The variant of the function whose default stream is the calling thread's own, and the version that brought it.
    package enum PerThread: Sendable {
        case ptds(Int), ptsz(Int)

        package var suffix: String {
            switch self {
            case .ptds: "_ptds"
            case .ptsz: "_ptsz"
            }
        }

        package var since: Int {
            switch self {
            case .ptds(let since), .ptsz(let since): since
            }
        }
    }

    /// The exported symbol.
    package let name: String
    /// The CUDA version that brought it, as in `cuGetProcAddress`: 1000 x major + 10 x minor.
    ///
    /// 0: unknown.
    package let since: Int
    /// The C parameters, as in the public interface.
    package let parameters: [Parameter]
    package let answer: Answer
    package let perThread: PerThread?
    /// Whether the function fails with CUDA_ERROR_NOT_INITIALIZED before `cuInit`.
    package let needsInit: Bool

    init(_ name: String, _ since: Int, _ parameters: String, perThread: PerThread? = nil, needsInit: Bool = true) {
        self.name = name
        self.since = since
        self.parameters = Parameter.list(parameters)
        self.answer = .shim
        self.perThread = perThread
        self.needsInit = needsInit
    }

    init(_ name: String, _ since: Int, sameAs other: String) {
        self.name = name
        self.since = since
        self.parameters = []
        self.answer = .sameAs(other)
        self.perThread = nil
        self.needsInit = true
    }

    init(_ name: String, _ since: Int, absent reason: Absence, perThread: PerThread? = nil) {
        self.name = name
        self.since = since
        self.parameters = []
        self.answer = .absent(reason)
        self.perThread = perThread
        self.needsInit = true
    }

    /// The name under which `cuGetProcAddress` knows it: without the version.
    package var baseName: String {
        guard let underscore = name.lastIndex(of: "_"), name[underscore...].hasPrefix("_v"),
            name[underscore...].dropFirst(2).allSatisfy(\.isNumber)
        else { return name }
        return String(name[..<underscore])
    }
}

/// One C parameter and the Swift type it is imported as.
package struct Parameter: Sendable {
    package let name: String
    package let swiftType: String

    /// Reads a C parameter list without function types: `CUdeviceptr *dptr, size_t bytesize`.
    static func list(_ text: String) -> [Parameter] {
        text.split(separator: ",").map { parameter in
            let words = parameter.split(separator: " ").joined(separator: " ")
            let nameStart = words.lastIndex { $0 == " " || $0 == "*" }.map(words.index(after:)) ?? words.startIndex
            let type = words[..<nameStart]
            return Parameter(name: String(words[nameStart...]), swiftType: swiftType(ofC: String(type)))
        }
    }

    private static let scalars: [String: String] = [
        "int": "Int32", "unsigned int": "UInt32", "size_t": "Int", "float": "Float", "unsigned char": "UInt8",
        "unsigned short": "UInt16", "unsigned long long": "UInt64", "cuuint64_t": "UInt64", "cuuint32_t": "UInt32",
        "char": "CChar",
    ]

    /// Pointer types that C hides behind a name.
    private static let handles: Set<String> = [
        "CUcontext", "CUmodule", "CUfunction", "CUlibrary", "CUkernel", "CUstream", "CUevent", "CUarray", "CUgraph",
        "CUgraphNode", "CUgraphExec", "CUuserObject", "CUgreenCtx", "CUmemoryPool", "CUlinkState",
        "CUmipmappedArray", "CUdevResourceDesc", "CUlogsCallbackHandle", "CUcoredumpCallbackHandle",
        "CUasyncCallbackHandle", "CUtexref", "CUsurfref",
    ]

    private static let callbacks: Set<String> = [
        "CUhostFn", "CUstreamCallback", "CUoccupancyB2DSize", "CUlogsCallback", "CUcoredumpStatusCallback",
        "CUasyncCallback",
    ]

    static func swiftType(ofC type: String) -> String {
        var text = type.split(separator: " ").joined(separator: " ")
        if text.hasSuffix("*") {
            text.removeLast()
            var target = text.split(separator: " ").joined(separator: " ")
            let isConstant = target.hasPrefix("const ") && !target.hasSuffix("*")
            if isConstant { target.removeFirst("const ".count) }
            if target == "void" { return isConstant ? "UnsafeRawPointer?" : "UnsafeMutableRawPointer?" }
            return (isConstant ? "UnsafePointer<" : "UnsafeMutablePointer<") + swiftType(ofC: target) + ">?"
        }
        if let scalar = scalars[text] { return scalar }
        if handles.contains(text) { return "OpaquePointer?" }
        if callbacks.contains(text) { return text + "?" }
        return text
    }
}

// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// Writes one kernel, with all functions it reaches, as a module of LLVM IR text.
///
/// The kernel's body becomes either a function that is called in a loop over the threads of a block, or a coroutine
/// when threads wait for each other. Functions that wait or end the thread are written into their callers, the others
/// become functions of their own.
final class KernelEmitter {
    let program: PTXProgram.Contents
    let kernel: Int
    let layout: KernelLayout
    /// Whether each thread is a coroutine.
    let isCoroutine: Bool

    /// The finished functions of the module.
    var functions = ""
    /// Declarations of what the functions call, by name.
    private(set) var declarations: [String: String] = [:]

    // The LLVM function being written.
    /// Whether it is the thread's coroutine, so that it may suspend.
    var isInCoroutine = false
    var body = ""
    var entry = ""
    private var counter = 0
    var functionsWritten: Set<Int> = []
    var functionsWanted: [Int] = []
    var usesFunctionTable = false

    // The PTX function being written into it.
    var instance = Instance()
    var instances = 0
    /// The PTX functions being written into each other.
    var inlining: [Int] = []
    /// Whether the current block has ended, so that a new one must begin before anything else is written.
    var isTerminated = false
    /// The instruction being written, for messages.
    var line = 0
    /// Bounds the size of the result: functions written into each other may multiply.
    var instructionsLeft = 2_000_000

    /// One copy of a PTX function inside the LLVM function being written.
    struct Instance {
        var function = 0
        var number = 0
        /// Pointers to the storage of the function's variables; nil for those without storage of their own.
        var storage: [Int: String] = [:]
        var registers: Set<Int> = []
        /// Where `ret` goes.
        var returnLabel = ""
        /// Whether the function is a kernel, whose `ret` ends the thread.
        var isKernel = false
    }

    init(_ program: PTXProgram.Contents, kernel: Int, layout: KernelLayout) {
        self.program = program
        self.kernel = kernel
        self.layout = layout
        isCoroutine = program.graph.nodes[kernel].suspends
    }

    var function: Function { program.linker.functions[instance.function].function }
    var module: Int { program.linker.functions[instance.function].module }

    // MARK: - Text

    func emit(_ instruction: String) {
        body += "  "
        body += instruction
        body += "\n"
    }

    func fresh() -> String {
        counter += 1
        return "%t\(counter)"
    }

    func freshLabel() -> String {
        counter += 1
        return "b\(counter)"
    }

    func compute(_ type: LLVMType, _ expression: String) -> Value {
        let name = fresh()
        body += "  \(name) = \(expression)\n"
        return Value(text: name, type: type)
    }

    func begin(_ label: String) {
        body += "\(label):\n"
        isTerminated = false
    }

    func branch(_ label: String) {
        emit("br label %\(label)")
        isTerminated = true
    }

    func branch(if condition: Value, _ then: String, else otherwise: String) {
        emit("br i1 \(condition.text), label %\(then), label %\(otherwise)")
        isTerminated = true
    }

    func unsupported(_ what: String) -> PTXError { .unsupported(what, line: line) }
    func invalid(_ what: String) -> PTXError { .invalid(what, line: line) }

    /// Calls an LLVM intrinsic or a function of the runtime, declaring it on first use.
    func call(_ type: LLVMType, _ name: String, _ arguments: [Value], attributes: String = "") -> Value {
        declare(
            name, "\(type.rawValue) @\(name)(\(arguments.map(\.type.rawValue).joined(separator: ", ")))", attributes)
        let list = arguments.map(\.typed).joined(separator: ", ")
        return compute(type, "call \(type.rawValue) @\(name)(\(list))")
    }

    func declare(_ name: String, _ signature: String, _ attributes: String = "") {
        if declarations[name] == nil { declarations[name] = "declare \(signature) \(attributes)\n" }
    }

    /// A function of the runtime that computes and nothing else.
    func pure(_ type: LLVMType, _ name: String, _ arguments: [Value]) -> Value {
        call(type, name, arguments, attributes: "nounwind willreturn memory(none)")
    }
}

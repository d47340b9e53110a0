// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// Writes one kernel, with all functions it reaches, as a module of LLVM IR text.
///
/// The kernel's body becomes either a function that is called in a loop over the threads of a block, or a coroutine when
/// threads wait for each other. Functions that wait or end the thread are written into their callers, the others become
/// functions of their own.
final class KernelEmitter {
    let program: PTXProgram.Contents
    let kernel: Int
    let layout: KernelLayout
    /// Whether each thread is a coroutine.
    let isCoroutine: Bool

    /// The finished functions of the module.
    private var functions = ""
    /// Declarations of what the functions call, by name.
    private var declarations: [String: String] = [:]

    // The LLVM function being written.
    /// Whether it is the thread's coroutine, so that it may suspend.
    private(set) var isInCoroutine = false
    var body = ""
    var entry = ""
    private var counter = 0
    private var functionsWritten: Set<Int> = []
    private var functionsWanted: [Int] = []
    private var usesFunctionTable = false

    // The PTX function being written into it.
    var instance = Instance()
    private var instances = 0
    /// The PTX functions being written into each other.
    private var inlining: [Int] = []
    /// Whether the current block has ended, so that a new one must begin before anything else is written.
    var isTerminated = false
    /// The instruction being written, for messages.
    var line = 0
    /// Bounds the size of the result: functions written into each other may multiply.
    private var instructionsLeft = 2_000_000

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

    // MARK: - Module

    /// The text of the whole module; `name` becomes part of the names it defines.
    func emitModule(name: String) throws(PTXError) -> String {
        if isCoroutine { try emitCoroutine(name) } else { try emitLoop(name) }
        while let next = functionsWanted.popLast() { try emitFunction(next) }
        var text = "; kernel \(program.linker.functions[kernel].function.name)\n"
        text += functions
        if usesFunctionTable { text += functionTable() }
        for declaration in declarations.sorted(by: { $0.key < $1.key }) { text += declaration.value }
        text += "!0 = distinct !{}\n!1 = !{!0}\n!2 = distinct !{!2, !3}\n!3 = !{!\"llvm.loop.parallel_accesses\", !0}\n"
        text += "!4 = !{}\n!5 = !{i64 \(max(1, layout.parameterBytes))}\n"
        return text
    }

    static let identity =
        "ptr dereferenceable(\(MemoryLayout<sg_block>.size)) %block, ptr %memory, i32 %tid.x, i32 %tid.y, i32 %tid.z, i32 %linear"

    private func start() {
        body = ""
        entry = ""
        isTerminated = false
    }

    /// What every function needs at hand; LLVM drops what is not used.
    private func emitPrologue() {
        entry += "  %shared = load ptr, ptr %block, !invariant.load !4\n"
        entry += "  %params.p = getelementptr i8, ptr %block, i64 \(BlockField.parameters)\n"
        // Known to be readable, so that loads of parameters may move out of loops and conditions.
        let readable = layout.parameterBytes > 0 ? ", !dereferenceable !5" : ""
        entry += "  %params = load ptr, ptr %params.p, !invariant.load !4\(readable)\n"
        if isInCoroutine {
            entry += "  %threads.p = getelementptr i8, ptr %block, i64 \(BlockField.threads)\n"
            entry += "  %threads = load ptr, ptr %threads.p, !invariant.load !4\n"
            entry += "  %linear64 = zext i32 %linear to i64\n"
            entry += "  %thread = getelementptr [\(MemoryLayout<sg_thread>.stride) x i8], ptr %threads, i64 %linear64\n"
            entry += "  %spins = alloca i32\n  store i32 0, ptr %spins\n"
        }
        entry += "  %carry = alloca i1\n  store i1 false, ptr %carry\n"
    }

    private func emitKernelBody() throws(PTXError) {
        instances += 1
        instance = Instance(function: kernel, number: instances, returnLabel: "thread.end", isKernel: true)
        inlining = [kernel]
        try emitStatements()
        if !isTerminated { branch("thread.end") }
    }

    /// The thread as a function, and a function that calls it for each thread of a block.
    private func emitLoop(_ name: String) throws(PTXError) {
        start()
        emitPrologue()
        try emitKernelBody()
        functions += """
            define internal void @thread(\(Self.identity)) alwaysinline nounwind {
            entry:
            \(entry)  br label %body
            body:
            \(body)thread.end:
              ret void
            }

            define void @\(name)(ptr noalias %block, ptr %memory) nounwind {
            entry:
              %nx.p = getelementptr i8, ptr %block, i64 \(BlockField.ntid)
              %nx = load i32, ptr %nx.p, !invariant.load !4
              %ny.p = getelementptr i8, ptr %block, i64 \(BlockField.ntid + 4)
              %ny = load i32, ptr %ny.p, !invariant.load !4
              %nz.p = getelementptr i8, ptr %block, i64 \(BlockField.ntid + 8)
              %nz = load i32, ptr %nz.p, !invariant.load !4
              br label %z.loop
            z.loop:
              %z = phi i32 [ 0, %entry ], [ %z.next, %z.end ]
              %zy = mul nuw nsw i32 %z, %ny
              br label %y.loop
            y.loop:
              %y = phi i32 [ 0, %z.loop ], [ %y.next, %y.end ]
              %row = add nuw nsw i32 %zy, %y
              %base = mul nuw nsw i32 %row, %nx
              br label %x.loop
            x.loop:
              %x = phi i32 [ 0, %y.loop ], [ %x.next, %x.loop ]
              %linear = add nuw nsw i32 %base, %x
              call void @thread(ptr %block, ptr %memory, i32 %x, i32 %y, i32 %z, i32 %linear)
              %x.next = add nuw nsw i32 %x, 1
              %x.more = icmp ult i32 %x.next, %nx
              br i1 %x.more, label %x.loop, label %y.end, !llvm.loop !2
            y.end:
              %y.next = add nuw nsw i32 %y, 1
              %y.more = icmp ult i32 %y.next, %ny
              br i1 %y.more, label %y.loop, label %z.end
            z.end:
              %z.next = add nuw nsw i32 %z, 1
              %z.more = icmp ult i32 %z.next, %nz
              br i1 %z.more, label %z.loop, label %done
            done:
              ret void
            }

            """
    }

    /// The thread as a coroutine. Its frame lies in the block's frame area; when the frames there are too small, the
    /// needed size is stored and nothing runs. A thread that has ended is never resumed, so there is no final suspension.
    private func emitCoroutine(_ name: String) throws(PTXError) {
        start()
        isInCoroutine = true
        emitPrologue()
        try emitKernelBody()
        declare("llvm.coro.id", "token @llvm.coro.id(i32, ptr, ptr, ptr)")
        declare("llvm.coro.begin", "ptr @llvm.coro.begin(token, ptr)")
        declare("llvm.coro.size.i64", "i64 @llvm.coro.size.i64()")
        declare("llvm.coro.suspend", "i8 @llvm.coro.suspend(token, i1)")
        declare("llvm.coro.end", "i1 @llvm.coro.end(ptr, i1, token)")
        functions += """
            define ptr @\(name)(\(Self.identity)) presplitcoroutine nounwind {
            entry:
              %id = call token @llvm.coro.id(i32 64, ptr null, ptr null, ptr null)
              %size = call i64 @llvm.coro.size.i64()
              %stride.p = getelementptr i8, ptr %block, i64 \(BlockField.frameStride)
              %stride = load i64, ptr %stride.p
              %fits = icmp ule i64 %size, %stride
              br i1 %fits, label %begin, label %refuse
            refuse:
              %needed.p = getelementptr i8, ptr %block, i64 \(BlockField.frameNeeded)
              store i64 %size, ptr %needed.p
              ret ptr null
            begin:
              %frames.p = getelementptr i8, ptr %block, i64 \(BlockField.frames)
              %frames = load ptr, ptr %frames.p
              %frame.index = zext i32 %linear to i64
              %frame.offset = mul nuw nsw i64 %frame.index, %stride
              %frame = getelementptr i8, ptr %frames, i64 %frame.offset
              %handle = call ptr @llvm.coro.begin(token %id, ptr align 64 %frame)
            \(entry)  br label %body
            body:
            \(body)thread.end:
              store i32 \(SG_DONE.rawValue), ptr %thread
              br label %leave
            leave:
              %end = call i1 @llvm.coro.end(ptr %handle, i1 false, token none)
              ret ptr %handle
            }

            """
    }

    /// A PTX function as an LLVM function: pointers to where results go, then pointers to the parameters.
    private func emitFunction(_ index: Int) throws(PTXError) {
        start()
        isInCoroutine = false
        emitPrologue()
        instances += 1
        instance = Instance(function: index, number: instances, returnLabel: "function.end")
        inlining = [index]
        let function = function
        for (position, variable) in (function.returns + function.parameters).enumerated() {
            instance.storage[variable] = "%arg\(position)"
        }
        try emitStatements()
        if !isTerminated { branch("function.end") }
        let count = function.returns.count + function.parameters.count
        let parameters = (0..<count).map { ", ptr %arg\($0)" }.joined()
        functions += """
            define internal void @f\(index)(\(Self.identity)\(parameters)) nounwind {
            entry:
            \(entry)  br label %body
            body:
            \(body)function.end:
              ret void
            }

            """
    }

    /// The LLVM function that stands for a PTX function.
    func functionName(_ index: Int) -> String {
        if functionsWritten.insert(index).inserted { functionsWanted.append(index) }
        return "@f\(index)"
    }

    /// The table of functions whose address the program takes; their addresses are positions in it, from 1.
    func functionTableName() -> String {
        if !usesFunctionTable {
            usesFunctionTable = true
            for index in program.graph.addressTaken where canBeCalledIndirectly(index) { _ = functionName(index) }
        }
        return "@functions"
    }

    func canBeCalledIndirectly(_ index: Int) -> Bool {
        let node = program.graph.nodes[index]
        return !node.suspends && !node.exits && !program.linker.functions[index].function.isKernel
    }

    private func functionTable() -> String {
        let entries = program.graph.addressTaken.map { canBeCalledIndirectly($0) ? "ptr @f\($0)" : "ptr null" }
        let list = (["ptr null"] + entries).joined(separator: ", ")
        return "@functions = internal constant [\(entries.count + 1) x ptr] [\(list)]\n"
    }

    // MARK: - Inlined functions

    /// Writes a function into the current one; `storage` are pointers to its results and parameters.
    func emitInlined(_ index: Int, storage: [String]) throws(PTXError) {
        guard !inlining.contains(index) else {
            throw unsupported(
                "recursion through '\(program.linker.functions[index].function.name)', which waits for other threads or ends its thread"
            )
        }
        let caller = instance
        let callLine = line
        instances += 1
        let end = freshLabel()
        instance = Instance(function: index, number: instances, returnLabel: end)
        inlining.append(index)
        let function = function
        for (variable, pointer) in zip(function.returns + function.parameters, storage) {
            instance.storage[variable] = pointer
        }
        try emitStatements()
        if !isTerminated { branch(end) }
        begin(end)
        inlining.removeLast()
        instance = caller
        line = callLine
    }

    // MARK: - Statements

    private func emitStatements() throws(PTXError) {
        let function = function
        let spins = program.graph.nodes[instance.function].loops.branches
        for (index, statement) in function.statements.enumerated() {
            switch statement {
            case .label(let label):
                if !isTerminated { branch(labelName(label)) }
                begin(labelName(label))
            case .instruction(let instruction):
                // What follows a jump without a label is never reached, but LLVM wants it in a block.
                if isTerminated { begin(freshLabel()) }
                line = instruction.line
                instructionsLeft -= 1
                guard instructionsLeft > 0 else { throw unsupported("the kernel is too large") }
                try emitGuarded(instruction, yields: isInCoroutine && spins.contains(index))
            }
        }
    }

    func labelName(_ label: Int) -> String { "L\(instance.number).\(label)" }

    private func emitGuarded(_ instruction: Instruction, yields: Bool) throws(PTXError) {
        guard let guarded = instruction.guardedBy else {
            if yields { emitYield() }
            return try emitInstruction(instruction)
        }
        var condition = try read(.register(guarded.register), .pred)
        if guarded.isNegated { condition = compute(.i1, "xor i1 \(condition.text), true") }
        let then = freshLabel()
        let next = freshLabel()
        branch(if: condition, then, else: next)
        begin(then)
        if yields { emitYield() }
        try emitInstruction(instruction)
        if !isTerminated { branch(next) }
        begin(next)
    }
}

/// Where compiled code finds the fields of `sg_block` and `sg_thread`.
enum BlockField {
    static func offset(_ field: PartialKeyPath<sg_block>) -> Int { MemoryLayout<sg_block>.offset(of: field) ?? 0 }

    static let parameters = offset(\.parameters)
    static let threads = offset(\.threads)
    static let frames = offset(\.frames)
    static let frameStride = offset(\.frame_stride)
    static let frameNeeded = offset(\.frame_needed)
    static let ntid = offset(\.ntid)
    static let ctaid = offset(\.ctaid)
    static let nctaid = offset(\.nctaid)
    static let processor = offset(\.processor)
    static let dynamicShared = offset(\.dynamic_shared)
    static let totalShared = offset(\.total_shared)
    static let grid = offset(\.grid)
    static let cooperation = offset(\.cooperation)
}

enum ThreadField {
    static func offset(_ field: PartialKeyPath<sg_thread>) -> Int { MemoryLayout<sg_thread>.offset(of: field) ?? 0 }

    static let wait = offset(\.wait)
    static let mask = offset(\.mask)
    static let a = offset(\.a)
    static let b = offset(\.b)
    static let c = offset(\.c)
    static let result = offset(\.result)
    static let predicate = offset(\.predicate)
    static let value = offset(\.value)
}

// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// The LLVM functions that a kernel consists of, and the module around them.
extension KernelEmitter {
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

    /// Who a thread is: parameters of every function, which have the same names in each.
    static let identity = """
        ptr dereferenceable(\(MemoryLayout<sg_block>.size)) %block, ptr %memory, \
        i32 %tid.x, i32 %tid.y, i32 %tid.z, i32 %linear
        """

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

    /// The thread as a coroutine.
    ///
    /// Its frame lies in the block's frame area; when the frames there are too small, the needed size is stored and
    /// nothing runs. A thread that has ended is never resumed, so there is no final suspension.
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
              %id = call token @llvm.coro.id(i32 \(layout.frameAlignment), ptr null, ptr null, ptr null)
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
              %handle = call ptr @llvm.coro.begin(token %id, ptr align \(layout.frameAlignment) %frame)
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
}

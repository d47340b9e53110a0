// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// Barriers and warp collectives: the thread leaves a request in its `sg_thread` and suspends; the scheduler answers.
extension KernelEmitter {
    private func set(_ field: Int, _ value: Value) {
        let pointer = fresh()
        emit("\(pointer) = getelementptr i8, ptr %thread, i64 \(field)")
        emit("store \(value.typed), ptr \(pointer)")
    }

    private func answer(_ field: Int) -> Value {
        let pointer = fresh()
        emit("\(pointer) = getelementptr i8, ptr %thread, i64 \(field)")
        return compute(.i32, "load i32, ptr \(pointer)")
    }

    /// Gives way to the other threads until the request is answered.
    private func suspend(_ wait: sg_wait) {
        set(ThreadField.wait, integer(Int(wait.rawValue), .i32))
        let state = fresh(), next = freshLabel()
        emit("\(state) = call i8 @llvm.coro.suspend(token none, i1 false)")
        emit("switch i8 \(state), label %leave [i8 0, label %\(next)]")
        begin(next)
    }

    /// Lets others run once in a while: most loops that could spin go round only once or twice.
    func emitYield() {
        let rounds = compute(.i32, "load i32, ptr %spins")
        let next = binary("add", rounds, 1)
        emit("store \(next.typed), ptr %spins")
        let pause = freshLabel(), go = freshLabel()
        branch(if: compare("eq", binary("and", next, 3), 0), pause, else: go)
        begin(pause)
        suspend(SG_YIELD)
        branch(go)
        begin(go)
    }

    func emitSleep(_ i: Instruction) throws(PTXError) {
        if isInCoroutine { return suspend(SG_YIELD) }
        emitRuntimeCall("sg_nanosleep", [try source(i, 0, .u32)])
    }

    // MARK: - Barriers

    func emitBarrier(_ i: Instruction) throws(PTXError) {
        if i.has("warp") {
            set(ThreadField.mask, try source(i, 0, .b32))
            return suspend(SG_WARP_BARRIER)
        }
        guard !i.has("cluster") else { throw unsupportedForm(i) }
        if i.has("arrive") {
            let list = [blockArgument(), try source(i, 0, .u32), try source(i, 1, .u32)]
            return emitRuntimeCall("sg_bar_arrive", list)
        }
        if i.has("red") { return try emitBarrierReduction(i) }
        set(ThreadField.a, try source(i, 0, .u32))
        set(ThreadField.b, i.operands.count > 1 ? try source(i, 1, .u32) : integer(0, .i32))
        set(ThreadField.c, integer(Int(SG_REDUCE_NONE.rawValue), .i32))
        set(ThreadField.value, integer(0, .i64))
        suspend(SG_BARRIER)
    }

    private func emitBarrierReduction(_ i: Instruction) throws(PTXError) {
        let reduction = i.has("popc") ? SG_REDUCE_POPC : i.has("and") ? SG_REDUCE_AND : SG_REDUCE_OR
        let predicate = i.operands.count - 1
        set(ThreadField.a, try source(i, 1, .u32))
        set(ThreadField.b, predicate > 2 ? try source(i, 2, .u32) : integer(0, .i32))
        set(ThreadField.c, integer(Int(reduction.rawValue), .i32))
        set(ThreadField.value, resize(try source(i, predicate, .pred), .i64, signed: false))
        suspend(SG_BARRIER)
        let result = answer(ThreadField.result)
        if i.has("popc") { return try finish(i, result, .u32) }
        try finish(i, compare("ne", result, 0), .pred)
    }

    // MARK: - Collectives

    /// The lanes that take part: the last operand of `.sync` forms, or whoever comes together.
    private func setMask(_ i: Instruction, _ position: Int) throws(PTXError) {
        let converged = integer(Int(SG_MASK_CONVERGED), .i32)
        set(ThreadField.mask, i.has("sync") ? try source(i, position, .b32) : converged)
    }

    func emitShuffle(_ i: Instruction) throws(PTXError) {
        let modes = ["up": SG_SHUFFLE_UP, "down": SG_SHUFFLE_DOWN, "bfly": SG_SHUFFLE_BFLY, "idx": SG_SHUFFLE_IDX]
        guard let mode = i.modifiers.compactMap({ modes[$0] }).first else { throw unsupportedForm(i) }
        set(ThreadField.value, resize(try source(i, 1, .b32), .i64, signed: false))
        set(ThreadField.a, integer(Int(mode.rawValue), .i32))
        set(ThreadField.b, try source(i, 2, .b32))
        set(ThreadField.c, try source(i, 3, .b32))
        try setMask(i, 4)
        suspend(SG_SHUFFLE)
        try finishPair(i)
    }

    /// Writes the answer to `d`, or to `d|p`.
    private func finishPair(_ i: Instruction) throws(PTXError) {
        let result = answer(ThreadField.result)
        guard case .pair(let value, let predicate) = try operand(i, 0) else { return try finish(i, result, .b32) }
        try write(result, to: value, .b32)
        try write(compare("ne", answer(ThreadField.predicate), 0), to: predicate, .pred)
    }

    func emitVote(_ i: Instruction) throws(PTXError) {
        let modes = ["all": SG_VOTE_ALL, "any": SG_VOTE_ANY, "uni": SG_VOTE_UNI, "ballot": SG_VOTE_BALLOT]
        guard let (name, mode) = i.modifiers.compactMap({ word in modes[word].map { (word, $0) } }).first else {
            throw unsupportedForm(i)
        }
        set(ThreadField.value, resize(try source(i, 1, .pred), .i64, signed: false))
        set(ThreadField.a, integer(Int(mode.rawValue), .i32))
        try setMask(i, 2)
        suspend(SG_VOTE)
        let result = answer(ThreadField.result)
        if name == "ballot" { return try finish(i, result, .b32) }
        try finish(i, compare("ne", result, 0), .pred)
    }

    func emitMatch(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        set(ThreadField.value, resize(try source(i, 1, type), .i64, signed: false))
        try setMask(i, 2)
        suspend(i.has("all") ? SG_MATCH_ALL : SG_MATCH_ANY)
        try finishPair(i)
    }

    func emitReduce(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        guard type.bits == 32, !type.isFloat else { throw unsupportedForm(i) }
        let operation: sg_redux
        switch i.modifiers.last(where: { $0 != "sync" }) {
        case "add": operation = SG_REDUX_ADD
        case "and": operation = SG_REDUX_AND
        case "or": operation = SG_REDUX_OR
        case "xor": operation = SG_REDUX_XOR
        case "min": operation = type.isSigned ? SG_REDUX_MIN_S : SG_REDUX_MIN_U
        case "max": operation = type.isSigned ? SG_REDUX_MAX_S : SG_REDUX_MAX_U
        default: throw unsupportedForm(i)
        }
        set(ThreadField.value, resize(try source(i, 1, type), .i64, signed: false))
        set(ThreadField.a, integer(Int(operation.rawValue), .i32))
        try setMask(i, 2)
        suspend(SG_REDUX)
        try finish(i, answer(ThreadField.result), type)
    }

    func emitActiveMask(_ i: Instruction) throws(PTXError) {
        set(ThreadField.mask, integer(Int(SG_MASK_CONVERGED), .i32))
        set(ThreadField.a, integer(line, .i32))
        suspend(SG_ACTIVE_MASK)
        try finish(i, answer(ThreadField.result), .b32)
    }

    /// The lowest member leads.
    func emitElect(_ i: Instruction) throws(PTXError) {
        set(ThreadField.value, integer(1, .i64))
        set(ThreadField.a, integer(Int(SG_VOTE_BALLOT.rawValue), .i32))
        set(ThreadField.mask, try source(i, 1, .b32))
        suspend(SG_VOTE)
        let members = answer(ThreadField.result)
        let leader = call(.i32, "llvm.cttz.i32", [members, Value(text: "false", type: .i1)])
        guard case .pair(let value, let predicate) = try operand(i, 0) else { throw unsupportedForm(i) }
        try write(leader, to: value, .b32)
        try write(compare("eq", leader, try special("laneid")), to: predicate, .pred)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// Calls of functions, and of what the device provides.
extension KernelEmitter {
    /// Emits `call (result), function, (arguments), prototype`.
    func emitCall(_ i: Instruction) throws(PTXError) {
        var operands = i.operands[...]
        var results: [Operand] = []
        if case .list(let list)? = operands.first {
            results = list
            operands = operands.dropFirst()
        }
        guard let callee = operands.popFirst() else { throw invalid("'call' lacks a function") }
        var arguments: [Operand] = []
        if case .list(let list)? = operands.first { arguments = list }
        guard case .name(let index, _) = callee else { return try emitIndirectCall(callee, results, arguments) }
        guard case .module(let name) = function.names[index] else { throw invalid("a label cannot be called") }
        switch program.linker.symbol(name, in: module) {
        case .function(let target)?: try emitDirectCall(target, name, results, arguments)
        case .builtin(let builtin)?: try emitBuiltin(builtin, results, arguments)
        case .variable?, nil: throw invalid("'\(name)' is not a function")
        }
    }

    private func emitDirectCall(
        _ target: Int, _ name: String, _ results: [Operand], _ arguments: [Operand]
    ) throws(PTXError) {
        let callee = program.linker.functions[target].function
        let declared = declaration(of: name) ?? callee
        guard results.count == declared.returns.count, arguments.count == declared.parameters.count else {
            throw invalid("the call of '\(name)' does not fit its declaration")
        }
        guard arguments.count == callee.parameters.count else {
            throw invalid("the declaration of '\(name)' does not fit its definition in another text")
        }
        var pointers: [String] = []
        var afterwards: [AfterCall] = []
        for (operand, variable) in zip(results, callee.returns) {
            pointers.append(try passed(operand, Room(callee.variables[variable]), isResult: true, &afterwards))
        }
        // A result that only the definition knows of goes nowhere; one that only the declaration has is undefined.
        for variable in callee.returns.dropFirst(results.count) {
            pointers.append(slot(Room(callee.variables[variable])))
        }
        for (operand, variable) in zip(arguments, callee.parameters) {
            pointers.append(try passed(operand, Room(callee.variables[variable]), isResult: false, &afterwards))
        }
        let node = program.graph.nodes[target]
        if node.suspends || node.exits {
            try emitInlined(target, storage: pointers)
        } else {
            let list = pointers.map { ", ptr \($0)" }.joined()
            emit("call void \(functionName(target))(\(Self.identity)\(list))")
        }
        try finish(afterwards)
    }

    /// What is copied once a call has returned: its result.
    private struct AfterCall {
        var operand: Operand
        var pointer: String
        var type: ScalarType
        /// For a variable of the caller's that is smaller than the callee's: how many bytes of it.
        var byteCount: Int?
    }

    private func finish(_ calls: [AfterCall]) throws(PTXError) {
        for item in calls {
            if let byteCount = item.byteCount, case .variable(let index, _) = item.operand {
                copy(byteCount, from: item.pointer, to: try storage(ofVariable: index))
                continue
            }
            let value = compute(item.type.llvm, "load \(item.type.llvm.rawValue), ptr \(item.pointer)")
            try write(value, to: item.operand, item.type)
        }
    }

    /// How the text that is being written declares a function of another text.
    private func declaration(of name: String) -> Function? {
        program.linker.modules[module].functions.first { $0.isDeclaration && $0.name == name }
    }

    /// What a parameter of the callee's needs.
    private struct Room {
        var type: ScalarType
        var size: Int
        var alignment: Int

        /// A parameter of a function that is found when the kernel runs.
        static let word = Room(type: .b64, size: 8, alignment: 8)

        init(_ variable: Variable) {
            (type, size, alignment) = (variable.type, variable.size, variable.alignment)
        }

        private init(type: ScalarType, size: Int, alignment: Int) {
            (self.type, self.size, self.alignment) = (type, size, alignment)
        }
    }

    private func slot(_ room: Room) -> String {
        let slot = fresh()
        entry += "  \(slot) = alloca [\(max(8, room.size)) x i8], align \(max(8, room.alignment))\n"
        return slot
    }

    private func copy(_ byteCount: Int, from source: String, to target: String) {
        declare("llvm.memcpy.p0.p0.i64", "void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        emit("call void @llvm.memcpy.p0.p0.i64(ptr \(target), ptr \(source), i64 \(byteCount), i1 false)")
    }

    /// The memory through which a parameter goes: the caller's own variable, or a copy of a register, a constant, or a
    /// variable that is smaller than the callee's.
    private func passed(
        _ operand: Operand, _ room: Room, isResult: Bool, _ afterwards: inout [AfterCall]
    ) throws(PTXError) -> String {
        if case .variable(let index, _) = operand, function.variables[index].space == .param {
            let own = function.variables[index]
            guard own.size < room.size else { return try storage(ofVariable: index) }
            let slot = slot(room)
            if isResult {
                afterwards.append(AfterCall(operand: operand, pointer: slot, type: room.type, byteCount: own.size))
            } else {
                copy(own.size, from: try storage(ofVariable: index), to: slot)
            }
            return slot
        }
        let slot = slot(room)
        if isResult {
            afterwards.append(AfterCall(operand: operand, pointer: slot, type: room.type))
        } else {
            emit("store \(try read(operand, room.type).typed), ptr \(slot)")
        }
        return slot
    }

    private func emitIndirectCall(
        _ callee: Operand, _ results: [Operand], _ arguments: [Operand]
    ) throws(PTXError) {
        for index in program.graph.addressTaken where !canBeCalledIndirectly(index) {
            let candidate = program.linker.functions[index].function
            if candidate.returns.count == results.count, candidate.parameters.count == arguments.count {
                let why = "waits for other threads or ends its thread"
                throw unsupported("an indirect call that may reach '\(candidate.name)', which \(why)")
            }
        }
        let count = program.graph.addressTaken.count
        let position = try read(callee, .u64)
        let isValid = compare("ule", position, count)
        let table = functionTableName()
        let slot = select(isValid, position, integer(0, .i64))
        let entryPointer = fresh()
        emit("\(entryPointer) = getelementptr [\(count + 1) x ptr], ptr \(table), i64 0, \(slot.typed)")
        let target = fresh(), isNull = fresh()
        emit("\(target) = load ptr, ptr \(entryPointer)")
        emit("\(isNull) = icmp eq ptr \(target), null")
        let bad = freshLabel(), good = freshLabel()
        branch(if: Value(text: isNull, type: .i1), bad, else: good)
        begin(bad)
        emitRuntimeCall("sg_trap", [blockArgument(), integer(Int(SG_ILLEGAL_INSTRUCTION.rawValue), .i32)])
        emit("unreachable")
        begin(good)
        var pointers: [String] = []
        var afterwards: [AfterCall] = []
        let unknown = Room.word
        for operand in results { pointers.append(try passed(operand, unknown, isResult: true, &afterwards)) }
        for operand in arguments { pointers.append(try passed(operand, unknown, isResult: false, &afterwards)) }
        let list = pointers.map { ", ptr \($0)" }.joined()
        emit("call void \(target)(\(Self.identity)\(list))")
        try finish(afterwards)
    }

    // MARK: - What the device provides

    private func argument(_ arguments: [Operand], _ position: Int, _ type: ScalarType) throws(PTXError) -> Value {
        guard position < arguments.count else { throw invalid("a call lacks an argument") }
        if case .variable(let index, _) = arguments[position], function.variables[index].space == .param {
            return compute(type.llvm, "load \(type.llvm.rawValue), ptr \(try storage(ofVariable: index))")
        }
        return try read(arguments[position], type)
    }

    private func store(result: Value, _ results: [Operand], _ type: ScalarType) throws(PTXError) {
        guard let target = results.first else { return }
        if case .variable(let index, _) = target, function.variables[index].space == .param {
            return emit("store \(result.typed), ptr \(try storage(ofVariable: index))")
        }
        try write(result, to: target, type)
    }

    private func emitBuiltin(
        _ builtin: Builtin, _ results: [Operand], _ arguments: [Operand]
    ) throws(PTXError) {
        switch builtin {
        case .vprintf:
            let list = [blockArgument(), try argument(arguments, 0, .b64), try argument(arguments, 1, .b64)]
            try store(result: call(.i32, "sg_vprintf", list), results, .b32)
        case .malloc:
            try store(
                result: call(.i64, "sg_malloc", [blockArgument(), try argument(arguments, 0, .b64)]), results, .b64)
        case .free:
            emitRuntimeCall("sg_free", [blockArgument(), try argument(arguments, 0, .b64)])
        case .assertFail:
            let list = [
                blockArgument(), try argument(arguments, 0, .b64), try argument(arguments, 1, .b64),
                try argument(arguments, 2, .b32), try argument(arguments, 3, .b64),
                Value(text: "%tid.x", type: .i32), Value(text: "%tid.y", type: .i32), Value(text: "%tid.z", type: .i32),
            ]
            emitRuntimeCall("sg_assert_fail", list)
        case .setConditional:
            let list = [blockArgument(), try argument(arguments, 0, .b64), try argument(arguments, 1, .b32)]
            emitRuntimeCall("sg_set_condition", list)
        case .trap: emitTrap()
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// Branches, calls, and the end of threads.
extension KernelEmitter {
    private func label(_ operand: Operand) throws(PTXError) -> Int {
        guard case .name(let index, _) = operand, case .label(let label) = function.names[index] else {
            throw invalid("a label is expected")
        }
        return label
    }

    func emitBranch(_ i: Instruction) throws(PTXError) {
        branch(labelName(try label(try operand(i, 0))))
    }

    func emitBranchIndexed(_ i: Instruction) throws(PTXError) {
        let index = try source(i, 0, .u32)
        guard let targets = function.branchTargets[try label(try operand(i, 1))], let last = targets.last else {
            throw invalid("'\(i.spelling)' needs a list of branch targets")
        }
        // An index out of range is undefined; the last target is taken.
        let cases = targets.enumerated().map { "i32 \($0.offset), label %\(labelName($0.element))" }
        emit("switch \(index.typed), label %\(labelName(last)) [\(cases.joined(separator: " "))]")
        isTerminated = true
    }

    func emitTrap() {
        emitRuntimeCall("sg_trap", [blockArgument(), integer(Int(SG_TRAPPED.rawValue), .i32)])
        emit("unreachable")
        isTerminated = true
    }

    /// A function of the runtime that returns nothing.
    func emitRuntimeCall(_ name: String, _ arguments: [Value]) {
        declare(name, "void @\(name)(\(arguments.map(\.type.rawValue).joined(separator: ", ")))")
        emit("call void @\(name)(\(arguments.map(\.typed).joined(separator: ", ")))")
    }

    // MARK: - Calls

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
        guard results.count == callee.returns.count, arguments.count == callee.parameters.count else {
            throw invalid("the call of '\(name)' does not fit its declaration")
        }
        var pointers: [String] = []
        var afterwards: [(operand: Operand, pointer: String, type: ScalarType)] = []
        for (operand, variable) in zip(results, callee.returns) {
            let pointer = try passed(operand, callee.variables[variable].type, isResult: true, &afterwards)
            pointers.append(pointer)
        }
        for (operand, variable) in zip(arguments, callee.parameters) {
            pointers.append(try passed(operand, callee.variables[variable].type, isResult: false, &afterwards))
        }
        let node = program.graph.nodes[target]
        if node.suspends || node.exits {
            try emitInlined(target, storage: pointers)
        } else {
            let list = pointers.map { ", ptr \($0)" }.joined()
            emit("call void \(functionName(target))(\(Self.identity)\(list))")
        }
        for item in afterwards {
            let value = compute(item.type.llvm, "load \(item.type.llvm.rawValue), ptr \(item.pointer)")
            try write(value, to: item.operand, item.type)
        }
    }

    /// The memory through which a parameter goes: the caller's own variable, or a copy of a register or constant.
    private func passed(
        _ operand: Operand, _ type: ScalarType, isResult: Bool,
        _ afterwards: inout [(operand: Operand, pointer: String, type: ScalarType)]
    ) throws(PTXError) -> String {
        if case .variable(let index, _) = operand, function.variables[index].space == .param {
            return try storage(ofVariable: index)
        }
        let slot = fresh()
        entry += "  \(slot) = alloca \(type.llvm.rawValue), align 8\n"
        if isResult {
            afterwards.append((operand, slot, type))
        } else {
            emit("store \(try read(operand, type).typed), ptr \(slot)")
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
        var afterwards: [(operand: Operand, pointer: String, type: ScalarType)] = []
        for operand in results { pointers.append(try passed(operand, .b64, isResult: true, &afterwards)) }
        for operand in arguments { pointers.append(try passed(operand, .b64, isResult: false, &afterwards)) }
        let list = pointers.map { ", ptr \($0)" }.joined()
        emit("call void \(target)(\(Self.identity)\(list))")
        for item in afterwards {
            let value = compute(item.type.llvm, "load \(item.type.llvm.rawValue), ptr \(item.pointer)")
            try write(value, to: item.operand, item.type)
        }
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
        case .trap: emitTrap()
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import PTX

/// `atom` and `red`.
///
/// Shared memory is touched by one core only, and a thread gives way to others only where it waits, so its atomics are
/// plain loads and stores.
extension KernelEmitter {
    func emitAtomic(_ i: Instruction, hasResult: Bool) throws(PTXError) {
        let type = try type(i), space = space(i)
        guard !i.has("v2"), !i.has("v4"), !i.has("v8"), !i.has("async") else { throw unsupportedForm(i) }
        let first = hasResult ? 1 : 0
        let memory = try pointer(try operand(i, first), space)
        let value = try source(i, first + 1, type)
        let old: Value
        if i.has("cas") {
            let bits = LLVMType.integer(bits: type.bits)
            let expected = reinterpret(value, bits)
            let new = reinterpret(try source(i, first + 2, type), bits)
            old = exchangeIfEqual(i, memory, expected, new, isShared: space == .shared)
        } else {
            old = try update(i, type, memory, value, isShared: space == .shared)
        }
        if hasResult { try finish(i, reinterpret(old, type.llvm), type) }
    }

    private func ordering(_ i: Instruction) -> String {
        if i.has("acq_rel") { return "acq_rel" }
        if i.has("acquire") { return "acquire" }
        if i.has("release") { return "release" }
        return "monotonic"
    }

    private func exchangeIfEqual(
        _ i: Instruction, _ memory: String, _ expected: Value, _ new: Value, isShared: Bool
    ) -> Value {
        let type = expected.type
        if isShared {
            let old = compute(type, "load \(type.rawValue), ptr \(memory), align \(type.bits / 8)")
            let stored = select(compare("eq", old, expected), new, old)
            emit("store \(stored.typed), ptr \(memory), align \(type.bits / 8)")
            return old
        }
        let success = ordering(i)
        let failure = success == "acq_rel" || success == "acquire" ? "acquire" : "monotonic"
        let pair = fresh()
        let order = "\(success) \(failure), align \(type.bits / 8)"
        emit("\(pair) = cmpxchg ptr \(memory), \(expected.typed), \(new.typed) \(order)")
        return compute(type, "extractvalue { \(type.rawValue), i1 } \(pair), 0")
    }

    private static let operations = ["add", "min", "max", "and", "or", "xor", "exch", "inc", "dec"]

    private func update(
        _ i: Instruction, _ type: ScalarType, _ memory: String, _ value: Value, isShared: Bool
    ) throws(PTXError) -> Value {
        guard let operation = i.modifiers.first(where: { Self.operations.contains($0) }) else {
            throw unsupportedForm(i)
        }
        if isBfloat(type) || (type.isFloat && operation != "add" && operation != "exch") {
            return try updateByExchange(i, type, memory, value, operation, isShared: isShared)
        }
        if isShared {
            let old = compute(value.type, "load \(value.type.rawValue), ptr \(memory), align \(type.bytes)")
            let new = try updated(operation, old, value, type)
            emit("store \(new.typed), ptr \(memory), align \(type.bytes)")
            return old
        }
        let names: [String: String] = [
            "add": type.isFloat ? "fadd" : "add", "and": "and", "or": "or", "xor": "xor", "exch": "xchg",
            "inc": "uinc_wrap", "dec": "udec_wrap", "min": type.isSigned ? "min" : "umin",
            "max": type.isSigned ? "max" : "umax",
        ]
        let operand = operation == "exch" ? reinterpret(value, .integer(bits: type.bits)) : value
        let name = names[operation] ?? operation
        return compute(
            operand.type, "atomicrmw \(name) ptr \(memory), \(operand.typed) \(ordering(i)), align \(type.bytes)")
    }

    /// What the operation makes of the old value.
    private func updated(_ operation: String, _ old: Value, _ value: Value, _ type: ScalarType) throws(PTXError)
        -> Value
    {
        switch operation {
        case "add": binary(type.isFloat ? "fadd" : "add", old, value)
        case "exch": value
        case "min", "max": intrinsic((type.isSigned ? "s" : "u") + operation, old, value)
        case "inc": select(compare("uge", old, value), integer(0, old.type), binary("add", old, 1))
        case "dec":
            select(
                binary("or", compare("eq", old, 0), compare("ugt", old, value)), value, binary("sub", old, 1))
        default: binary(operation, old, value)
        }
    }

    /// Operations that the machine has no instruction for: tries until nobody came between.
    private func updateByExchange(
        _ i: Instruction, _ type: ScalarType, _ memory: String, _ value: Value, _ operation: String, isShared: Bool
    ) throws(PTXError) -> Value {
        let bits = LLVMType.integer(bits: type.bits)
        func changed(_ old: Value) throws(PTXError) -> Value {
            reinterpret(try floatUpdated(operation, reinterpret(old, type.llvm), value, type), bits)
        }
        let (atomic, order) = isShared ? ("", "") : ("atomic ", " monotonic")
        let first = compute(
            bits, "load \(atomic)\(bits.rawValue), ptr \(memory)\(order), align \(type.bytes)")
        if isShared {
            emit("store \(try changed(first).typed), ptr \(memory), align \(type.bytes)")
            return reinterpret(first, type.llvm)
        }
        let slot = fresh()
        entry += "  \(slot) = alloca \(bits.rawValue)\n"
        emit("store \(first.typed), ptr \(slot)")
        let retry = freshLabel(), done = freshLabel()
        branch(retry)
        begin(retry)
        let old = compute(bits, "load \(bits.rawValue), ptr \(slot)")
        let new = try changed(old)
        let seen = exchangeIfEqual(i, memory, old, new, isShared: false)
        emit("store \(seen.typed), ptr \(slot)")
        branch(if: compare("eq", seen, old), done, else: retry)
        begin(done)
        return reinterpret(compute(bits, "load \(bits.rawValue), ptr \(slot)"), type.llvm)
    }

    private func floatUpdated(
        _ operation: String, _ old: Value, _ value: Value, _ type: ScalarType
    ) throws(PTXError) -> Value {
        guard ["add", "min", "max"].contains(operation) else { throw unsupported("'\(operation)' of \(type.rawValue)") }
        func apply(_ a: Value, _ b: Value) -> Value {
            operation == "add" ? binary("fadd", a, b) : intrinsic(operation == "min" ? "minnum" : "maxnum", a, b)
        }
        switch type {
        case .bf16: return floatToBfloat(apply(bfloatToFloat(old), bfloatToFloat(value)))
        case .bf16x2:
            var packed = integer(0, .i32)
            for lane in 0..<2 {
                let parts = [old, value].map {
                    bfloatToFloat(resize(binary("lshr", $0, 16 * lane), .i16, signed: false))
                }
                let half = resize(floatToBfloat(apply(parts[0], parts[1])), .i32, signed: false)
                packed = binary("or", packed, binary("shl", half, 16 * lane))
            }
            return packed
        default: return apply(old, value)
        }
    }
}

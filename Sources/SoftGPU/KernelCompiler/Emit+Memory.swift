// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// Moves, loads, stores, address conversion and fences.
extension KernelEmitter {
    func space(_ i: Instruction) -> StateSpace {
        for modifier in i.modifiers {
            // `.shared::cta` and `.param::entry` are the same spaces with their scope spelled out.
            let word = modifier.split(separator: ":").first.map(String.init) ?? modifier
            if let space = StateSpace(rawValue: word) { return space }
        }
        return .generic
    }

    func emitMove(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        try finish(i, try source(i, 1, type), type)
    }

    private func vectorWidth(_ i: Instruction) -> Int {
        i.has("v2") ? 2 : i.has("v4") ? 4 : i.has("v8") ? 8 : 1
    }

    /// How strongly an access is ordered, and whether it may be dropped or repeated.
    private func ordering(_ i: Instruction) -> String? {
        if i.has("acquire") { return "acquire" }
        if i.has("release") { return "release" }
        if i.has("relaxed") || i.has("volatile") || i.has("mmio") || i.has("cv") || i.has("wt") { return "monotonic" }
        return nil
    }

    /// Accesses of global memory by threads of a block that never wait for each other may be done in any order among
    /// the threads; only those of memory that is private to a thread, or shared by design, may not.
    private func independence(_ space: StateSpace) -> String {
        !isCoroutine && (space == .global) ? ", !llvm.access.group !0" : ""
    }

    func emitLoad(_ i: Instruction) throws(PTXError) {
        let type = try type(i), space = space(i), width = vectorWidth(i)
        let source = try operand(i, 1)
        var targets = [try operand(i, 0)]
        if width > 1 {
            guard case .vector(let parts) = targets[0], parts.count == width else {
                throw invalid("'\(i.spelling)' needs a vector of \(width) registers")
            }
            targets = parts
        }
        let llvm = type.llvm
        var values: [Value] = []
        for position in 0..<width {
            let pointer = try pointer(source, space, plus: position * type.bytes)
            if let ordering = ordering(i), llvm != .half2, type.bits >= 8 {
                let bits = LLVMType.integer(bits: type.bits)
                let loaded = compute(
                    bits, "load atomic \(bits.rawValue), ptr \(pointer) \(ordering), align \(type.bytes)")
                values.append(reinterpret(loaded, llvm))
            } else {
                let isParameter = space == .param && isKernelParameter(source)
                let hint = isParameter || space == .const ? ", !invariant.load !4" : independence(space)
                // The buffer's alignment is unknown, and only then may LLVM load a parameter before it is needed.
                let alignment = isParameter ? 1 : type.bytes
                values.append(compute(llvm, "load \(llvm.rawValue), ptr \(pointer), align \(alignment)\(hint)"))
            }
        }
        for (target, value) in zip(targets, values) { try write(value, to: target, type) }
    }

    private func isKernelParameter(_ operand: Operand) -> Bool {
        guard instance.isKernel, case .address(.variable(let index, _), _, _) = operand else { return false }
        return function.parameters.contains(index)
    }

    func emitStore(_ i: Instruction) throws(PTXError) {
        let type = try type(i), space = space(i), width = vectorWidth(i)
        let target = try operand(i, 0)
        var sources = [try operand(i, 1)]
        if width > 1 {
            guard case .vector(let parts) = sources[0], parts.count == width else {
                throw invalid("'\(i.spelling)' needs a vector of \(width) registers")
            }
            sources = parts
        }
        for (position, source) in sources.enumerated() {
            let value = try read(source, type)
            let pointer = try pointer(target, space, plus: position * type.bytes)
            if let ordering = ordering(i), value.type != .half2 {
                let bits = reinterpret(value, .integer(bits: type.bits))
                emit("store atomic \(bits.typed), ptr \(pointer) \(ordering), align \(type.bytes)")
            } else {
                emit("store \(value.typed), ptr \(pointer), align \(type.bytes)\(independence(space))")
            }
        }
    }

    /// Shared addresses are offsets from the block's base; all others are pointers already.
    func emitAddressConversion(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        guard space(i) == .shared else { return try finish(i, try source(i, 1, type), type) }
        let base = compute(.i64, "ptrtoint ptr %shared to i64")
        if i.has("to") {
            return try finish(i, fit(binary("sub", try source(i, 1, .u64), base), type.llvm, signed: false), type)
        }
        // A constant address may be a variable's; a register holds 32 or 64 bits.
        let offset = resize(try source(i, 1, .u32), .i64, signed: false)
        try finish(i, fit(binary("add", base, offset), type.llvm, signed: false), type)
    }

    func emitIsSpace(_ i: Instruction) throws(PTXError) {
        let address = try source(i, 1, .u64)
        let name: String
        switch space(i) {
        case .global: name = "sg_is_global"
        case .shared: name = "sg_is_shared"
        case .local: name = "sg_is_local"
        case .param: name = "sg_is_param"
        case .const: return try finish(i, isConstant(address), .pred)
        case .generic: throw unsupportedForm(i)
        }
        let size = integer(layout.parameterBytes, .i64)
        let answer = call(.i32, name, [address, size, blockArgument()])
        var result = compare("ne", answer, 0)
        if name == "sg_is_global" { result = binary("and", result, binary("xor", isConstant(address), 1)) }
        try finish(i, result, .pred)
    }

    /// The block as an argument of a call of the runtime; it goes as a number, which is the same to the machine.
    func blockArgument() -> Value { compute(.i64, "ptrtoint ptr %block to i64") }

    private func isConstant(_ address: Value) -> Value {
        var result = Value(text: "false", type: .i1)
        for (position, linked) in program.linker.variables.enumerated() where linked.variable.space == .const {
            guard let base = program.address(ofVariable: position) else { continue }
            let offset = compute(.i64, "sub i64 \(address.text), \(base)")
            result = binary("or", result, compare("ult", offset, max(1, linked.variable.size)))
        }
        return result
    }

    func emitFence(_ i: Instruction) {
        if i.has("proxy") { return }
        // Threads of a block share a core, so within it only the compiler must keep the order.
        if i.has("cta") { return emit("fence syncscope(\"singlethread\") seq_cst") }
        emit(i.has("acq_rel") ? "fence acq_rel" : "fence seq_cst")
    }
}

// SPDX-License-Identifier: Apache-2.0
import PTX

/// Registers, constants and addresses: how operands are read and written.
extension KernelEmitter {
    // MARK: - Conversion of bits

    /// The same bits as another type of the same width.
    func reinterpret(_ value: Value, _ type: LLVMType) -> Value {
        value.type == type ? value : compute(type, "bitcast \(value.typed) to \(type.rawValue)")
    }

    /// An integer of another width.
    func resize(_ value: Value, _ type: LLVMType, signed: Bool) -> Value {
        if value.type == type { return value }
        let operation = value.type.bits > type.bits ? "trunc" : signed ? "sext" : "zext"
        return compute(type, "\(operation) \(value.typed) to \(type.rawValue)")
    }

    /// Bits of one type as another: cut or extended where the widths differ.
    func fit(_ value: Value, _ type: LLVMType, signed: Bool) -> Value {
        if value.type == type { return value }
        let bits = reinterpret(value, .integer(bits: value.type.bits))
        return reinterpret(resize(bits, .integer(bits: type.bits), signed: signed), type)
    }

    // MARK: - Registers

    /// The storage of a register; LLVM turns it into values.
    func storage(of register: Int) -> String {
        let name = "%r\(instance.number).\(register)"
        if instance.registers.insert(register).inserted {
            let type = function.registers[register].type.llvm.rawValue
            entry += "  \(name) = alloca \(type)\n  store \(type) zeroinitializer, ptr \(name)\n"
        }
        return name
    }

    func read(_ operand: Operand, _ type: ScalarType) throws(PTXError) -> Value {
        switch operand {
        case .register(let register):
            let declared = function.registers[register].type.llvm
            let pointer = storage(of: register)
            guard (declared == .i1) == (type == .pred) else {
                throw invalid("a predicate is used as a number, or a number as a predicate")
            }
            return fit(compute(declared, "load \(declared.rawValue), ptr \(pointer)"), type.llvm, signed: type.isSigned)
        case .integer(let bits): return constant(bits, type)
        case .float32(let bits):
            guard type.bits != 64 || !type.isFloat else {
                return constant(Double(Float(bitPattern: bits)).bitPattern, type)
            }
            return constant(UInt64(bits), type)
        case .float64(let bits):
            guard type == .f32 else { return constant(bits, type) }
            return constant(UInt64(Float(Double(bitPattern: bits)).bitPattern), type)
        case .special(let name): return fit(try special(name), type.llvm, signed: false)
        case .variable, .name: return fit(try address(operand), type.llvm, signed: false)
        case .vector(let parts): return try pack(parts, type)
        case .not(let inner):
            let value = try read(inner, type)
            guard value.type == .i1 else { throw invalid("only predicates can be negated with '!'") }
            return compute(.i1, "xor i1 \(value.text), true")
        case .sink, .address, .list, .pair: throw invalid("an operand of another kind is expected")
        }
    }

    func constant(_ bits: UInt64, _ type: ScalarType) -> Value {
        let llvm = type.llvm
        let mask = type.bits >= 64 ? UInt64.max : (1 << UInt64(type.bits)) - 1
        let bits = bits & mask
        switch llvm {
        case .i1: return Value(text: bits == 0 ? "false" : "true", type: .i1)
        case .half, .float, .double, .half2:
            return Value(text: "bitcast (i\(llvm.bits) \(bits) to \(llvm.rawValue))", type: llvm)
        default: return Value(text: "\(bits)", type: llvm)
        }
    }

    func integer(_ value: Int, _ type: LLVMType) -> Value { Value(text: "\(value)", type: type) }

    /// A floating-point constant; exact for the few that are used.
    func float(_ value: Double, _ type: LLVMType) -> Value {
        switch type {
        case .double: Value(text: "bitcast (i64 \(value.bitPattern) to double)", type: type)
        case .half: Value(text: "bitcast (i16 \(Float16Bits.exact(value)) to half)", type: type)
        default: Value(text: "bitcast (i32 \(Float(value).bitPattern) to float)", type: .float)
        }
    }

    func write(_ value: Value, to operand: Operand, _ type: ScalarType) throws(PTXError) {
        switch operand {
        case .register(let register):
            let declared = function.registers[register].type.llvm
            guard (declared == .i1) == (value.type == .i1) else {
                throw invalid("a predicate is written as a number, or a number as a predicate")
            }
            let fitted = fit(value, declared, signed: type.isSigned)
            emit("store \(fitted.typed), ptr \(storage(of: register))")
        case .vector(let parts): try unpack(value, parts)
        case .sink: break
        default: throw invalid("the result must go to a register")
        }
    }

    /// `{a, b}` as one wide value, the first part in the lowest bits.
    private func pack(_ parts: [Operand], _ type: ScalarType) throws(PTXError) -> Value {
        guard !parts.isEmpty, type.bits % parts.count == 0, let part = Self.bitType(type.bits / parts.count) else {
            throw invalid("the parts do not make up the whole")
        }
        let whole = LLVMType.integer(bits: type.bits)
        var result = Value(text: "0", type: whole)
        for (index, operand) in parts.enumerated() {
            var bits = resize(try read(operand, part), whole, signed: false)
            if index > 0 { bits = compute(whole, "shl \(bits.typed), \(index * part.bits)") }
            result = compute(whole, "or \(result.typed), \(bits.text)")
        }
        return reinterpret(result, type.llvm)
    }

    private func unpack(_ value: Value, _ parts: [Operand]) throws(PTXError) {
        guard !parts.isEmpty, value.type.bits % parts.count == 0, let part = Self.bitType(value.type.bits / parts.count)
        else { throw invalid("the parts do not make up the whole") }
        let whole = reinterpret(value, .integer(bits: value.type.bits))
        for (index, operand) in parts.enumerated() {
            if case .sink = operand { continue }
            let shifted = index == 0 ? whole : compute(whole.type, "lshr \(whole.typed), \(index * part.bits)")
            try write(resize(shifted, part.llvm, signed: false), to: operand, part)
        }
    }

    static func bitType(_ bits: Int) -> ScalarType? {
        switch bits {
        case 8: .b8
        case 16: .b16
        case 32: .b32
        case 64: .b64
        default: nil
        }
    }

    // MARK: - Addresses

    /// The address of a variable or function as `mov` gives it: an offset for shared memory, a pointer otherwise.
    func address(_ operand: Operand) throws(PTXError) -> Value {
        switch operand {
        case .variable(let index, let offset):
            let variable = function.variables[index]
            if variable.space == .shared {
                return Value(text: "\(try sharedOffset(index) + offset)", type: .i64)
            }
            let pointer = try storage(ofVariable: index)
            let base = compute(.i64, "ptrtoint ptr \(pointer) to i64")
            return offset == 0 ? base : compute(.i64, "add i64 \(base.text), \(offset)")
        case .name(let index, let offset):
            guard case .module(let name) = function.names[index] else { throw invalid("a label has no address") }
            switch program.linker.symbol(name, in: module) {
            case .variable(let position)?:
                if let shared = layout.sharedOfProgram[position] {
                    return Value(text: "\(Int64(shared) &+ offset)", type: .i64)
                }
                guard let address = program.address(ofVariable: position) else {
                    throw unsupported("the address of '\(name)'")
                }
                return Value(text: "\(address &+ UInt64(bitPattern: offset))", type: .i64)
            case .function(let position)?:
                return Value(text: "\(program.address(ofFunction: position))", type: .i64)
            case .builtin?: throw unsupported("the address of '\(name)'")
            case nil: throw invalid("'\(name)' is not declared")
            }
        default: throw invalid("an address is expected")
        }
    }

    private func sharedOffset(_ variable: Int) throws(PTXError) -> Int64 {
        guard let offset = layout.sharedOfFunctions[.init(function: instance.function, variable: variable)] else {
            throw unsupported("this use of shared memory")
        }
        return Int64(offset)
    }

    /// A pointer to a variable of the function, which gets its storage on first use.
    func storage(ofVariable index: Int) throws(PTXError) -> String {
        if let pointer = instance.storage[index] { return pointer }
        let variable = function.variables[index]
        let name = "%v\(instance.number).\(index)"
        switch variable.space {
        case .param where instance.isKernel && function.parameters.contains(index):
            let position = function.parameters.firstIndex(of: index) ?? 0
            entry += "  \(name) = getelementptr i8, ptr %params, i64 \(layout.parameters[position].offset)\n"
        case .param, .local:
            entry += "  \(name) = alloca [\(max(1, variable.size)) x i8], align \(max(1, variable.alignment))\n"
        default:
            throw unsupported("a \(variable.space.rawValue) variable inside a function")
        }
        instance.storage[index] = name
        return name
    }

    /// The pointer that a memory operand means in a state space.
    func pointer(_ operand: Operand, _ space: StateSpace, plus extra: Int = 0) throws(PTXError) -> String {
        guard case .address(let base, let offset, let rest) = operand, rest.isEmpty else {
            throw invalid("a memory operand is expected")
        }
        let displacement = offset &+ Int64(extra)
        switch base {
        case .variable(let index, _) where function.variables[index].space != .shared:
            return displaced(try storage(ofVariable: index), displacement)
        case .variable, .name:
            let value = try address(base)
            return isShared(base, space) ? sharedPointer(value, displacement) : flatPointer(value, displacement)
        default:
            guard space == .shared else { return flatPointer(try read(base, .u64), displacement) }
            // Shared addresses are 32 bits wide, whatever register holds them.
            return sharedPointer(resize(try read(base, .u32), .i64, signed: false), displacement)
        }
    }

    private func isShared(_ base: Operand, _ space: StateSpace) -> Bool {
        switch base {
        case .variable(let index, _): return function.variables[index].space == .shared
        case .name(let index, _):
            guard case .module(let name) = function.names[index],
                case .variable(let position)? = program.linker.symbol(name, in: module)
            else { return false }
            return layout.sharedOfProgram[position] != nil
        default: return space == .shared
        }
    }

    private func displaced(_ pointer: String, _ offset: Int64) -> String {
        if offset == 0 { return pointer }
        let name = fresh()
        emit("\(name) = getelementptr i8, ptr \(pointer), i64 \(offset)")
        return name
    }

    private func sharedPointer(_ offset: Value, _ displacement: Int64) -> String {
        let name = fresh()
        emit("\(name) = getelementptr i8, ptr %shared, \(offset.typed)")
        return displaced(name, displacement)
    }

    /// A pointer anywhere.
    ///
    /// `%memory` is null, which LLVM must not know: it sees one object that all addresses are offsets into, and can
    /// compare and combine them.
    func flatPointer(_ address: Value, _ displacement: Int64) -> String {
        let name = fresh()
        emit("\(name) = getelementptr i8, ptr %memory, \(address.typed)")
        return displaced(name, displacement)
    }
}

/// The bit patterns of halves that the compiler itself needs.
enum Float16Bits {
    /// Only for values that a half holds exactly.
    static func exact(_ value: Double) -> UInt16 {
        if value == 0 { return 0 }
        let exponent = Int(value.exponent) + 15
        let fraction = Int(value.significandBitPattern >> 42)
        return UInt16(truncatingIfNeeded: (value < 0 ? 0x8000 : 0) | exponent << 10 | fraction)
    }
}

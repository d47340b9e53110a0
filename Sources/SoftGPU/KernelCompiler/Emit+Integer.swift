// SPDX-License-Identifier: Apache-2.0
import PTX

/// Integer arithmetic (PTX ISA, "Integer Arithmetic Instructions" and "Extended-Precision").
extension KernelEmitter {
    func emitAddSub(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        if type.isFloat { return try emitFloatAddSub(i, type) }
        let a = try source(i, 1, type), b = try source(i, 2, type)
        if type == .u16x2 || type == .s16x2 {
            return try finish(i, lanes(i.opcode, a, b), type)
        }
        if i.has("cc") { return try finish(i, carrying(i.opcode == "add", a, b, carry: nil), type) }
        if i.has("sat") {
            let name = (type.isSigned ? "s" : "u") + i.opcode + ".sat"
            return try finish(i, intrinsic(name, a, b), type)
        }
        try finish(i, binary(i.opcode, a, b), type)
    }

    /// Two 16-bit integers in 32 bits.
    private func lanes(_ operation: String, _ a: Value, _ b: Value) -> Value {
        let name = fresh(), first = fresh(), second = fresh()
        emit("\(first) = bitcast i32 \(a.text) to <2 x i16>")
        emit("\(second) = bitcast i32 \(b.text) to <2 x i16>")
        emit("\(name) = \(operation) <2 x i16> \(first), \(second)")
        return compute(.i32, "bitcast <2 x i16> \(name) to i32")
    }

    func emitAddSubCarry(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let carry = compute(.i1, "load i1, ptr %carry")
        let result = carrying(
            i.opcode == "addc", try source(i, 1, type), try source(i, 2, type), carry: carry, keeps: i.has("cc"))
        try finish(i, result, type)
    }

    /// Adds or subtracts with the carry flag: `carry` comes in, and goes out when `keeps`.
    private func carrying(_ adds: Bool, _ a: Value, _ b: Value, carry: Value?, keeps: Bool = true) -> Value {
        let wide: LLVMType = a.type == .i64 ? .i128 : .i64
        let operation = adds ? "add" : "sub"
        var sum = binary(operation, resize(a, wide, signed: false), resize(b, wide, signed: false))
        if let carry { sum = binary(operation, sum, resize(carry, wide, signed: false)) }
        if keeps {
            // Beyond the width is 0 or 1 after an addition, all ones after a borrow.
            let high = binary("lshr", sum, a.type.bits)
            let out = compute(.i1, "trunc \(high.typed) to i1")
            emit("store i1 \(out.text), ptr %carry")
        }
        return resize(sum, a.type, signed: false)
    }

    func emitMultiply(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        if type.isFloat { return try emitFloatMultiply(i, type) }
        let a = try source(i, 1, type), b = try source(i, 2, type)
        let (product, resultType) = try product(i, a, b, type)
        try finish(i, product, resultType)
    }

    /// The part of a product that `.lo`, `.hi` or `.wide` asks for.
    private func product(
        _ i: Instruction, _ a: Value, _ b: Value, _ type: ScalarType
    ) throws(PTXError) -> (Value, ScalarType) {
        if i.has("wide") {
            guard let wide = Self.widened(type) else { throw unsupportedForm(i) }
            let left = resize(a, wide.llvm, signed: type.isSigned), right = resize(b, wide.llvm, signed: type.isSigned)
            return (binary("mul \(type.isSigned ? "nsw" : "nuw")", left, right), wide)
        }
        if i.has("hi") {
            let wide = LLVMType.integer(bits: type.bits * 2)
            let all = binary("mul", resize(a, wide, signed: type.isSigned), resize(b, wide, signed: type.isSigned))
            return (resize(binary("lshr", all, type.bits), type.llvm, signed: false), type)
        }
        return (binary("mul", a, b), type)
    }

    static func widened(_ type: ScalarType) -> ScalarType? {
        switch type {
        case .u16: .u32
        case .s16: .s32
        case .u32: .u64
        case .s32: .s64
        default: nil
        }
    }

    func emitMultiplyAdd(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        if type.isFloat { return try emitFusedMultiplyAdd(i, type) }
        let a = try source(i, 1, type), b = try source(i, 2, type)
        let (product, resultType) = try product(i, a, b, type)
        let c = try source(i, 3, resultType)
        if i.opcode == "madc" || i.has("cc") {
            let carry = i.opcode == "madc" ? compute(.i1, "load i1, ptr %carry") : nil
            return try finish(i, carrying(true, product, c, carry: carry, keeps: i.has("cc")), resultType)
        }
        if i.has("sat") { return try finish(i, intrinsic("sadd.sat", product, c), resultType) }
        try finish(i, binary("add", product, c), resultType)
    }

    func emitMultiply24(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        func low24(_ value: Value) -> Value {
            let wide = resize(binary("shl", value, 8), .i64, signed: false)
            let placed = binary("shl", wide, 32)
            return binary(type.isSigned ? "ashr" : "lshr", placed, 40)
        }
        let all = binary("mul", low24(try source(i, 1, type)), low24(try source(i, 2, type)))
        var result = resize(i.has("hi") ? binary("lshr", all, 16) : all, .i32, signed: false)
        if i.opcode == "mad24" {
            let c = try source(i, 3, type)
            result = i.has("sat") ? intrinsic("sadd.sat", result, c) : binary("add", result, c)
        }
        try finish(i, result, type)
    }

    func emitSumOfDifference(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let a = try source(i, 1, type), b = try source(i, 2, type), c = try source(i, 3, type)
        let isLess = compare(type.isSigned ? "slt" : "ult", a, b)
        try finish(i, binary("add", c, select(isLess, binary("sub", b, a), binary("sub", a, b))), type)
    }

    /// Division by zero, which would end the process, gives all ones, and so does its remainder.
    func emitDivide(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        if type.isFloat { return try emitFloatDivide(i, type) }
        let a = try source(i, 1, type), b = try source(i, 2, type)
        let isZero = compare("eq", b, 0)
        var divisor = select(isZero, integer(1, b.type), b)
        var overflows: Value?
        if type.isSigned {
            // The smallest number by -1 does not fit: the quotient wraps, the remainder is 0.
            let minusOne = compare("eq", b, -1)
            divisor = select(minusOne, integer(1, b.type), divisor)
            overflows = minusOne
        }
        let isDivision = i.opcode == "div"
        var result = binary((type.isSigned ? "s" : "u") + i.opcode, a, divisor)
        if let overflows {
            result = select(overflows, isDivision ? binary("sub", integer(0, a.type), a) : integer(0, a.type), result)
        }
        try finish(i, select(isZero, integer(-1, a.type), result), type)
    }

    func emitSign(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        if type.isFloat { return try emitFloatSign(i, type) }
        let a = try source(i, 1, type)
        let negative = binary("sub", integer(0, a.type), a)
        try finish(i, i.opcode == "neg" ? negative : select(compare("slt", a, 0), negative, a), type)
    }

    func emitMinMax(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        if type.isFloat { return try emitFloatMinMax(i, type) }
        let a = try source(i, 1, type), b = try source(i, 2, type)
        let name = (type.isSigned ? "s" : "u") + i.opcode
        if type == .u16x2 || type == .s16x2 {
            declare("llvm.\(name).v2i16", "<2 x i16> @llvm.\(name).v2i16(<2 x i16>, <2 x i16>)")
            let first = fresh(), second = fresh(), result = fresh()
            emit("\(first) = bitcast i32 \(a.text) to <2 x i16>")
            emit("\(second) = bitcast i32 \(b.text) to <2 x i16>")
            emit("\(result) = call <2 x i16> @llvm.\(name).v2i16(<2 x i16> \(first), <2 x i16> \(second))")
            return try finish(i, compute(.i32, "bitcast <2 x i16> \(result) to i32"), type)
        }
        var result = intrinsic(name, a, b)
        if i.has("relu") { result = intrinsic("smax", result, integer(0, a.type)) }
        try finish(i, result, type)
    }

    /// `dp4a` and `dp2a`: products of small integers packed in registers, added up.
    func emitDotProduct(_ i: Instruction) throws(PTXError) {
        let first = try type(i, 0), second = try type(i, 1)
        let a = try source(i, 1, first), b = try source(i, 2, second)
        var sum = try source(i, 3, first.isSigned || second.isSigned ? .s32 : .u32)
        func part(_ value: Value, _ index: Int, _ bits: Int, _ signed: Bool) -> Value {
            let top = binary("shl", value, 32 - bits * (index + 1))
            return binary(signed ? "ashr" : "lshr", top, 32 - bits)
        }
        if i.opcode == "dp4a" {
            for index in 0..<4 {
                let product = binary("mul", part(a, index, 8, first.isSigned), part(b, index, 8, second.isSigned))
                sum = binary("add", sum, product)
            }
        } else {
            let base = i.has("hi") ? 2 : 0
            for index in 0..<2 {
                let product = binary(
                    "mul", part(a, index, 16, first.isSigned), part(b, base + index, 8, second.isSigned))
                sum = binary("add", sum, product)
            }
        }
        try finish(i, sum, .b32)
    }
}

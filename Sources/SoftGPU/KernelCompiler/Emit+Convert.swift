// SPDX-License-Identifier: Apache-2.0
import PTX

/// `cvt` between all scalar types (PTX ISA, "cvt").
extension KernelEmitter {
    func emitConvert(_ i: Instruction) throws(PTXError) {
        let target = try type(i, 0), origin = try type(i, 1)
        if i.has("pack") { return try emitPack(i, target, origin) }
        if target == .f16x2 || target == .bf16x2 { return try emitConvertToPair(i, target, origin) }
        let value = try source(i, 1, origin)
        switch (origin.isFloat, target.isFloat) {
        case (false, false): try finish(i, integerToInteger(i, value, origin, target), target)
        case (false, true): try finish(i, integerToFloat(i, value, origin, target), target)
        case (true, false): try finish(i, floatToInteger(i, value, origin, target), target)
        case (true, true): try floatToFloat(i, value, origin, target)
        }
    }

    private func integerToInteger(_ i: Instruction, _ value: Value, _ origin: ScalarType, _ target: ScalarType) -> Value
    {
        guard i.has("sat") else { return resize(value, target.llvm, signed: origin.isSigned) }
        // In twice the width both ranges can be compared as signed numbers.
        let wide = LLVMType.i128
        let number = resize(value, wide, signed: origin.isSigned)
        let bits = target.bits
        let low = Value(text: target.isSigned ? "-\(UInt64(1) << UInt64(bits - 1))" : "0", type: wide)
        let high: UInt64 = (target.isSigned ? UInt64.max >> 1 : UInt64.max) >> UInt64(64 - bits)
        let clamped = intrinsic("smin", intrinsic("smax", number, low), Value(text: "\(high)", type: wide))
        return resize(clamped, target.llvm, signed: false)
    }

    private func integerToFloat(_ i: Instruction, _ value: Value, _ origin: ScalarType, _ target: ScalarType) -> Value {
        let mode = rounding(i)
        let conversion = origin.isSigned ? "sitofp" : "uitofp"
        var result: Value
        switch target {
        case .f32, .f64:
            if mode == 0 {
                result = compute(target.llvm, "\(conversion) \(value.typed) to \(target.llvm.rawValue)")
            } else {
                let wide = resize(value, .i64, signed: origin.isSigned)
                let helper = "sg_\(origin.isSigned ? "s" : "u")64_to_\(target.rawValue)"
                result = pure(target.llvm, helper, [wide, integer(mode, .i32)])
            }
        default:
            // Every integer that a 16-bit number can show exactly, and any that overflows it, passes through a double.
            let wide = compute(.double, "\(conversion) \(value.typed) to double")
            let bits = pure(.i16, "sg_f64_to_\(target.rawValue)", [wide, integer(mode, .i32)])
            result = reinterpret(bits, target.llvm)
        }
        if i.has("sat"), target != .bf16 { result = saturate(result) }
        return result
    }

    private func floatToInteger(_ i: Instruction, _ source: Value, _ origin: ScalarType, _ target: ScalarType) -> Value
    {
        var value = flush(i, source)
        switch origin {
        case .f16: value = compute(.float, "fpext half \(value.text) to float")
        case .bf16: value = bfloatToFloat(value)
        default: break
        }
        let isNaN = compare("uno", value, value)
        let rounded = roundToIntegral(i, value)
        let name = "llvm.\(target.isSigned ? "fptosi" : "fptoui").sat.\(target.llvm.suffix).\(value.type.suffix)"
        let converted = call(target.llvm, name, [rounded])
        guard origin == .f64 || target.bits == 64 else { return converted }
        // NaN becomes 0 only where both types are at most 32 bits wide, the top bit otherwise.
        let top = Value(text: "\(UInt64(1) << UInt64(target.bits - 1))", type: target.llvm)
        return select(isNaN, top, converted)
    }

    /// The modifiers `.rni`, `.rzi`, `.rmi` and `.rpi`.
    private func roundToIntegral(_ i: Instruction, _ value: Value) -> Value {
        if i.has("rni") || i.has("rn") { return intrinsic("roundeven", value) }
        if i.has("rmi") || i.has("rm") { return intrinsic("floor", value) }
        if i.has("rpi") || i.has("rp") { return intrinsic("ceil", value) }
        return intrinsic("trunc", value)
    }

    private func roundsToIntegral(_ i: Instruction) -> Bool {
        i.has("rni") || i.has("rzi") || i.has("rmi") || i.has("rpi")
    }

    private func floatToFloat(
        _ i: Instruction, _ source: Value, _ origin: ScalarType, _ target: ScalarType
    ) throws(PTXError) {
        var value = flush(i, source)
        if origin == .bf16 { value = bfloatToFloat(value) }
        if roundsToIntegral(i) { value = roundToIntegral(i, value) }
        var result = narrowOrWiden(value, target, mode: rounding(i), isIntegral: roundsToIntegral(i))
        if target != .bf16 {
            result = flush(i, result)
            if i.has("sat") { result = saturate(result) }
        }
        if i.has("relu") { result = clampNegative(result, target) }
        try finish(i, result, target)
    }

    private func clampNegative(_ value: Value, _ type: ScalarType) -> Value {
        if type == .bf16 { return select(compare("slt", value, 0), integer(0, .i16), value) }
        return select(compare("olt", value, float(0, value.type)), float(0, value.type), value)
    }

    /// A float or double (or half) as `target`; the result of a bfloat is its bits.
    private func narrowOrWiden(_ value: Value, _ target: ScalarType, mode: Int, isIntegral: Bool = false) -> Value {
        func asDouble(_ value: Value) -> Value {
            value.type == .double ? value : compute(.double, "fpext \(value.typed) to double")
        }
        switch target {
        case .bf16:
            if value.type == .float, mode == 0 { return floatToBfloat(value) }
            return pure(.i16, "sg_f64_to_bf16", [asDouble(value), integer(mode, .i32)])
        case .f16:
            if value.type == .half { return value }
            if value.type == .float, mode == 0 { return compute(.half, "fptrunc float \(value.text) to half") }
            return reinterpret(pure(.i16, "sg_f64_to_f16", [asDouble(value), integer(mode, .i32)]), .half)
        case .f32:
            if value.type == .float { return value }
            if value.type == .half { return compute(.float, "fpext half \(value.text) to float") }
            if mode == 0 || isIntegral { return compute(.float, "fptrunc double \(value.text) to float") }
            return pure(.float, "sg_f64_to_f32", [value, integer(mode, .i32)])
        default: return asDouble(value)
        }
    }

    /// `cvt.rn.f16x2.f32 d, a, b`: `a` becomes the upper half.
    private func emitConvertToPair(_ i: Instruction, _ target: ScalarType, _ origin: ScalarType) throws(PTXError) {
        guard origin == .f32, i.operands.count == 3 else { throw unsupportedForm(i) }
        let part: ScalarType = target == .f16x2 ? .f16 : .bf16
        var halves: [Value] = []
        for position in [2, 1] {
            var half = narrowOrWiden(try source(i, position, .f32), part, mode: rounding(i))
            if i.has("relu") { half = clampNegative(half, part) }
            halves.append(resize(reinterpret(half, .i16), .i32, signed: false))
        }
        let packed = binary("or", halves[0], binary("shl", halves[1], 16))
        try finish(i, reinterpret(packed, target.llvm), target)
    }

    /// `cvt.pack.sat.u8.s32.b32 d, a, b, c`: saturated numbers side by side, `b` lowest.
    private func emitPack(_ i: Instruction, _ target: ScalarType, _ origin: ScalarType) throws(PTXError) {
        guard target.bits == 8 || target.bits == 16, origin == .s32 else { throw unsupportedForm(i) }
        let a = integerToInteger(i, try source(i, 1, .s32), .s32, target)
        let b = integerToInteger(i, try source(i, 2, .s32), .s32, target)
        let upper = binary("shl", resize(a, .i32, signed: false), target.bits)
        var packed = binary("or", upper, resize(b, .i32, signed: false))
        if i.operands.count > 3 {
            packed = binary("or", packed, binary("shl", try source(i, 3, .b32), 2 * target.bits))
        }
        try finish(i, packed, .b32)
    }
}

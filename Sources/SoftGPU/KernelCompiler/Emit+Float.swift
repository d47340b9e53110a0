// SPDX-License-Identifier: Apache-2.0
import PTX

/// Floating-point arithmetic in all precisions. Nothing is contracted or reassociated.
extension KernelEmitter {
    /// The rounding mode in the numbering of the runtime's helpers: nearest 0, zero 1, down 2, up 3.
    func rounding(_ i: Instruction) -> Int {
        if i.has("rz") || i.has("rzi") { return 1 }
        if i.has("rm") || i.has("rmi") { return 2 }
        if i.has("rp") || i.has("rpi") { return 3 }
        return 0
    }

    // MARK: - Forms of one operand

    /// Denormals become zeros of the same sign where `.ftz` says so.
    func flush(_ i: Instruction, _ value: Value) -> Value {
        guard i.has("ftz"), value.type == .float else { return value }
        let magnitude = intrinsic("fabs", value)
        let isSmall = compare("olt", magnitude, float(Double(Float.leastNormalMagnitude), .float))
        let zero = intrinsic("copysign", float(0, .float), value)
        return select(isSmall, zero, value)
    }

    /// `.sat`: between 0 and 1, and NaN becomes 0.
    func saturate(_ value: Value) -> Value {
        if value.type == .half2 {
            return perHalf(value) { half in saturate(half) }
        }
        let low = intrinsic("maxnum", value, float(0, value.type))
        return intrinsic("minnum", low, float(1, value.type))
    }

    /// Applies `transform` to both halves of a packed value.
    private func perHalf(_ value: Value, _ transform: (Value) -> Value) -> Value {
        var result = Value(text: "undef", type: .half2)
        for lane in 0..<2 {
            let half = transform(compute(.half, "extractelement \(value.typed), i32 \(lane)"))
            result = compute(.half2, "insertelement \(result.typed), \(half.typed), i32 \(lane)")
        }
        return result
    }

    /// A source operand of a floating-point instruction, flushed if need be.
    ///
    /// Bfloats stay integers.
    func floatSource(_ i: Instruction, _ position: Int, _ type: ScalarType) throws(PTXError) -> Value {
        flush(i, try source(i, position, type))
    }

    func floatFinish(_ i: Instruction, _ value: Value, _ type: ScalarType) throws(PTXError) {
        var value = flush(i, value)
        if i.has("sat") { value = saturate(value) }
        if i.has("relu") { value = relu(value) }
        try finish(i, value, type)
    }

    /// Negative numbers become 0; NaN stays.
    private func relu(_ value: Value) -> Value {
        if value.type == .half2 { return perHalf(value) { relu($0) } }
        return select(compare("olt", value, float(0, value.type)), float(0, value.type), value)
    }

    // MARK: - Bfloat

    func bfloatToFloat(_ value: Value) -> Value {
        reinterpret(binary("shl", resize(value, .i32, signed: false), 16), .float)
    }

    /// Rounds to nearest even; NaN stays NaN.
    func floatToBfloat(_ value: Value) -> Value {
        let bits = reinterpret(value, .i32)
        let odd = binary("and", binary("lshr", bits, 16), 1)
        let rounded = binary("add", bits, binary("add", odd, 0x7FFF))
        let isNaN = compare("uno", value, value)
        let kept = select(isNaN, integer(0x7FFF_0000, .i32), rounded)
        return resize(binary("lshr", kept, 16), .i16, signed: false)
    }

    /// Computes with bfloats, single or packed, as floats.
    func withBfloats(
        _ i: Instruction, _ type: ScalarType, operands: Int, _ operation: ([Value]) throws(PTXError) -> Value
    ) throws(PTXError) {
        var sources: [Value] = []
        for position in 1...operands { sources.append(try source(i, position, type)) }
        if type == .bf16 {
            let result = floatToBfloat(adjusted(i, try operation(sources.map(bfloatToFloat))))
            return try finish(i, result, type)
        }
        var packed = integer(0, .i32)
        for lane in 0..<2 {
            let parts = sources.map { value in
                bfloatToFloat(resize(lane == 0 ? value : binary("lshr", value, 16), .i16, signed: false))
            }
            let half = resize(floatToBfloat(adjusted(i, try operation(parts))), .i32, signed: false)
            packed = binary("or", packed, lane == 0 ? half : binary("shl", half, 16))
        }
        try finish(i, packed, type)
    }

    private func adjusted(_ i: Instruction, _ value: Value) -> Value {
        if i.has("relu") { return relu(value) }
        return i.has("sat") ? saturate(value) : value
    }

    func isBfloat(_ type: ScalarType) -> Bool { type == .bf16 || type == .bf16x2 }

    // MARK: - Instructions

    func emitFloatAddSub(_ i: Instruction, _ type: ScalarType) throws(PTXError) {
        let operation = i.opcode == "add" ? "fadd" : "fsub"
        if isBfloat(type) {
            return try withBfloats(i, type, operands: 2) { v in binary(operation, v[0], v[1]) }
        }
        let a = try floatSource(i, 1, type), b = try floatSource(i, 2, type)
        let mode = rounding(i)
        guard mode != 0, type == .f32 || type == .f64 else {
            return try floatFinish(i, binary(operation, a, b), type)
        }
        let second = i.opcode == "add" ? b : compute(b.type, "fneg \(b.typed)")
        try floatFinish(i, pure(a.type, "sg_add_\(type.rawValue)", [a, second, integer(mode, .i32)]), type)
    }

    func emitFloatMultiply(_ i: Instruction, _ type: ScalarType) throws(PTXError) {
        if isBfloat(type) {
            return try withBfloats(i, type, operands: 2) { v in binary("fmul", v[0], v[1]) }
        }
        let a = try floatSource(i, 1, type), b = try floatSource(i, 2, type)
        let mode = rounding(i)
        guard mode != 0, type == .f32 || type == .f64 else { return try floatFinish(i, binary("fmul", a, b), type) }
        try floatFinish(i, pure(a.type, "sg_mul_\(type.rawValue)", [a, b, integer(mode, .i32)]), type)
    }

    func emitFusedMultiplyAdd(_ i: Instruction, _ type: ScalarType) throws(PTXError) {
        if isBfloat(type) {
            // The product is exact in a float; in a double so is the sum, for all that survives rounding.
            return try withBfloats(i, type, operands: 3) { v in fusedViaDouble(v) }
        }
        let a = try floatSource(i, 1, type), b = try floatSource(i, 2, type), c = try floatSource(i, 3, type)
        let mode = rounding(i)
        switch type {
        case .f32 where mode != 0, .f64 where mode != 0:
            try floatFinish(i, pure(a.type, "sg_fma_\(type.rawValue)", [a, b, c, integer(mode, .i32)]), type)
        case .f16: try floatFinish(i, fusedHalf(a, b, c), type)
        case .f16x2:
            var result = Value(text: "undef", type: .half2)
            for lane in 0..<2 {
                let parts = [a, b, c].map { compute(.half, "extractelement \($0.typed), i32 \(lane)") }
                let half = fusedHalf(parts[0], parts[1], parts[2])
                result = compute(.half2, "insertelement \(result.typed), \(half.typed), i32 \(lane)")
            }
            try floatFinish(i, result, type)
        default: try floatFinish(i, intrinsic("fma", a, b, c), type)
        }
    }

    private func fusedViaDouble(_ v: [Value]) -> Value {
        let wide = v.map { compute(.double, "fpext \($0.typed) to double") }
        let sum = intrinsic("fma", wide[0], wide[1], wide[2])
        let bits = pure(.i16, "sg_f64_to_bf16", [sum, integer(0, .i32)])
        return bfloatToFloat(bits)
    }

    private func fusedHalf(_ a: Value, _ b: Value, _ c: Value) -> Value {
        let wide = [a, b, c].map { compute(.double, "fpext \($0.typed) to double") }
        let bits = pure(.i16, "sg_f64_to_f16", [intrinsic("fma", wide[0], wide[1], wide[2]), integer(0, .i32)])
        return reinterpret(bits, .half)
    }

    func emitFloatDivide(_ i: Instruction, _ type: ScalarType) throws(PTXError) {
        let a = try floatSource(i, 1, type), b = try floatSource(i, 2, type)
        let mode = rounding(i)
        guard mode != 0 else { return try floatFinish(i, binary("fdiv", a, b), type) }
        try floatFinish(i, pure(a.type, "sg_div_\(type.rawValue)", [a, b, integer(mode, .i32)]), type)
    }

    func emitFloatSign(_ i: Instruction, _ type: ScalarType) throws(PTXError) {
        if isBfloat(type) {
            let signs = type == .bf16 ? 0x8000 : 0x8000_8000
            let a = try source(i, 1, type)
            let mask = integer(i.opcode == "neg" ? signs : ~signs & (type == .bf16 ? 0xFFFF : 0xFFFF_FFFF), a.type)
            return try finish(i, binary(i.opcode == "neg" ? "xor" : "and", a, mask), type)
        }
        let a = try floatSource(i, 1, type)
        try finish(i, i.opcode == "neg" ? compute(a.type, "fneg \(a.typed)") : intrinsic("fabs", a), type)
    }

    func emitCopySign(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        // PTX names the sign first.
        try finish(i, intrinsic("copysign", try source(i, 2, type), try source(i, 1, type)), type)
    }

    /// One NaN gives the other operand, `.NaN` gives NaN, and -0 is less than +0.
    func emitFloatMinMax(_ i: Instruction, _ type: ScalarType) throws(PTXError) {
        guard !i.has("xorsign") else { throw unsupportedForm(i) }
        if isBfloat(type) {
            return try withBfloats(i, type, operands: 2) { v in minMax(i, v[0], v[1]) }
        }
        var result = minMax(i, try floatSource(i, 1, type), try floatSource(i, 2, type))
        if i.operands.count > 3 { result = minMax(i, result, try floatSource(i, 3, type)) }
        try floatFinish(i, result, type)
    }

    private func minMax(_ i: Instruction, _ a: Value, _ b: Value) -> Value {
        let ordered = intrinsic(i.opcode == "min" ? "minimum" : "maximum", a, b)
        if i.has("NaN") { return ordered }
        if a.type == .half2 {
            let first = fresh(), second = fresh()
            emit("\(first) = fcmp uno \(b.typed), \(b.text)")
            let withA = compute(.half2, "select <2 x i1> \(first), \(a.typed), \(ordered.typed)")
            emit("\(second) = fcmp uno \(a.typed), \(a.text)")
            return compute(.half2, "select <2 x i1> \(second), \(b.typed), \(withA.typed)")
        }
        let withA = select(compare("uno", b, b), a, ordered)
        return select(compare("uno", a, a), b, withA)
    }

    func emitRoot(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        guard type == .f32 || type == .f64 else { throw unsupportedForm(i) }
        let a = try floatSource(i, 1, type)
        let mode = rounding(i)
        let one = float(1, a.type)
        switch i.opcode {
        case "rcp" where mode != 0:
            try floatFinish(i, pure(a.type, "sg_div_\(type.rawValue)", [one, a, integer(mode, .i32)]), type)
        case "rcp": try floatFinish(i, binary("fdiv", one, a), type)
        case "sqrt" where mode != 0:
            try floatFinish(i, pure(a.type, "sg_sqrt_\(type.rawValue)", [a, integer(mode, .i32)]), type)
        case "sqrt": try floatFinish(i, intrinsic("sqrt", a), type)
        default: try floatFinish(i, binary("fdiv", one, intrinsic("sqrt", a)), type)
        }
    }

    func emitTranscendental(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let name = "sg_\(i.opcode)"
        switch type {
        case .f32: try floatFinish(i, pure(.float, name, [try floatSource(i, 1, type)]), type)
        case .f16:
            let wide = compute(.float, "fpext \(try source(i, 1, type).typed) to float")
            try finish(i, compute(.half, "fptrunc \(pure(.float, name, [wide]).typed) to half"), type)
        case .f16x2:
            let result = perHalf(try source(i, 1, type)) { half in
                let wide = compute(.float, "fpext \(half.typed) to float")
                return compute(.half, "fptrunc \(pure(.float, name, [wide]).typed) to half")
            }
            try finish(i, result, type)
        case .bf16, .bf16x2: try withBfloats(i, type, operands: 1) { v in pure(.float, name, v) }
        default: throw unsupportedForm(i)
        }
    }

    func emitTestProperty(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let a = try source(i, 1, type)
        // LLVM's classes: 0x3 NaN, 0x204 infinite, 0x1F8 finite, 0x108 normal, 0x90 subnormal.
        let classes: [String: Int] = [
            "finite": 0x1F8, "infinite": 0x204, "number": 0x3FC, "notanumber": 0x3, "normal": 0x108, "subnormal": 0x90,
        ]
        guard let name = i.modifiers.first, let mask = classes[name] else { throw unsupportedForm(i) }
        let result = call(.i1, "llvm.is.fpclass.\(a.type.suffix)", [a, integer(mask, .i32)])
        try finish(i, result, .pred)
    }
}

// SPDX-License-Identifier: Apache-2.0
import PTX

/// Comparison and selection.
extension KernelEmitter {
    private static let comparisons: Set<String> = [
        "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num",
        "nan",
    ]

    /// The comparison an instruction asks for, as LLVM calls it.
    private func condition(_ i: Instruction, _ type: ScalarType) throws(PTXError) -> String {
        guard let name = i.modifiers.first(where: { Self.comparisons.contains($0) }) else {
            throw invalid("'\(i.spelling)' lacks a comparison")
        }
        if type.isFloat {
            switch name {
            case "eq", "lt", "le", "gt", "ge": return "o" + name
            // Not equal is false when a number is missing; `neu` is the other one.
            case "ne": return "one"
            case "equ": return "ueq"
            case "neu": return "une"
            case "ltu": return "ult"
            case "leu": return "ule"
            case "gtu": return "ugt"
            case "geu": return "uge"
            case "num": return "ord"
            case "nan": return "uno"
            default: throw invalid("'\(name)' does not compare floating-point numbers")
            }
        }
        switch name {
        case "eq", "ne": return name
        case "lt", "le", "gt", "ge": return (type.isSigned ? "s" : "u") + name
        case "lo": return "ult"
        case "ls": return "ule"
        case "hi": return "ugt"
        case "hs": return "uge"
        default: throw invalid("'\(name)' does not compare integers")
        }
    }

    private func combine(_ i: Instruction, _ value: Value, at position: Int) throws(PTXError) -> Value {
        guard let operation = i.modifiers.first(where: { ["and", "or", "xor"].contains($0) }) else { return value }
        return binary(operation, value, try source(i, position, .pred))
    }

    func emitSetPredicate(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let target = try operand(i, 0)
        if type == .f16x2 { return try emitSetPredicateOfHalves(i, target) }
        let holds = try comparison(i, type)
        guard case .pair(let first, let second) = target else {
            return try write(try combine(i, holds, at: 3), to: target, .pred)
        }
        let fails = binary("xor", holds, 1)
        let results = (try combine(i, holds, at: 3), try combine(i, fails, at: 3))
        try write(results.0, to: first, .pred)
        try write(results.1, to: second, .pred)
    }

    private func comparison(_ i: Instruction, _ type: ScalarType) throws(PTXError) -> Value {
        let condition = try condition(i, type)
        var a = try floatSource(i, 1, type), b = try floatSource(i, 2, type)
        if type == .bf16 {
            a = bfloatToFloat(a)
            b = bfloatToFloat(b)
        }
        return compare(condition, a, b)
    }

    private func emitSetPredicateOfHalves(_ i: Instruction, _ target: Operand) throws(PTXError) {
        guard case .pair(let first, let second) = target else { throw unsupportedForm(i) }
        let condition = try condition(i, .f16)
        let a = try source(i, 1, .f16x2), b = try source(i, 2, .f16x2)
        for (lane, predicate) in [first, second].enumerated() {
            let x = compute(.half, "extractelement \(a.typed), i32 \(lane)")
            let y = compute(.half, "extractelement \(b.typed), i32 \(lane)")
            try write(try combine(i, compare(condition, x, y), at: 3), to: predicate, .pred)
        }
    }

    /// `set` writes its answer as a number: all ones, or 1.0 for floating-point results.
    func emitSet(_ i: Instruction) throws(PTXError) {
        let resultType = try type(i, 0), sourceType = try type(i, 1)
        if sourceType == .f16x2 { return try emitSetOfHalves(i, resultType) }
        let holds = try combine(i, try comparison(i, sourceType), at: 3)
        switch resultType {
        case .f32, .f16: try finish(i, select(holds, float(1, resultType.llvm), float(0, resultType.llvm)), resultType)
        case .bf16: try finish(i, select(holds, integer(0x3F80, .i16), integer(0, .i16)), resultType)
        default: try finish(i, resize(holds, resultType.llvm, signed: true), resultType)
        }
    }

    private func emitSetOfHalves(_ i: Instruction, _ resultType: ScalarType) throws(PTXError) {
        let condition = try condition(i, .f16)
        let a = try source(i, 1, .f16x2), b = try source(i, 2, .f16x2)
        var packed = integer(0, .i32)
        for lane in 0..<2 {
            let x = compute(.half, "extractelement \(a.typed), i32 \(lane)")
            let y = compute(.half, "extractelement \(b.typed), i32 \(lane)")
            let holds = try combine(i, compare(condition, x, y), at: 3)
            let yes = resultType == .f16x2 ? 0x3C00 : 0xFFFF
            let bits = select(holds, integer(yes << (16 * lane), .i32), integer(0, .i32))
            packed = binary("or", packed, bits)
        }
        try finish(i, reinterpret(packed, resultType.llvm), resultType)
    }

    func emitSelect(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let a = try source(i, 1, type), b = try source(i, 2, type)
        if i.opcode == "selp" { return try finish(i, select(try source(i, 3, .pred), a, b), type) }
        let decider = try self.type(i, 1)
        let c = try floatSource(i, 3, decider)
        let isPositive = decider == .f32 ? compare("oge", c, float(0, .float)) : compare("sge", c, 0)
        try finish(i, select(isPositive, a, b), type)
    }
}

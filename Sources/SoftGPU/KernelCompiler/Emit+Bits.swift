// SPDX-License-Identifier: Apache-2.0
import PTX

/// Logic, shifts and bit fields.
extension KernelEmitter {
    func emitLogic(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let a = try source(i, 1, type)
        switch i.opcode {
        case "not": try finish(i, binary("xor", a, a.type == .i1 ? 1 : -1), type)
        case "cnot": try finish(i, resize(compare("eq", a, 0), a.type, signed: false), type)
        default: try finish(i, binary(i.opcode, a, try source(i, 2, type)), type)
        }
    }

    /// Any function of three bits, given as the table of its eight results.
    func emitLogic3(_ i: Instruction) throws(PTXError) {
        guard case .integer(let table) = try operand(i, 4), i.operands.count == 5 else { throw unsupportedForm(i) }
        let inputs = [try source(i, 1, .b32), try source(i, 2, .b32), try source(i, 3, .b32)]
        var result = integer(0, .i32)
        for row in 0..<8 where table >> UInt64(row) & 1 != 0 {
            var term = integer(-1, .i32)
            for (index, input) in inputs.enumerated() {
                let isSet = row >> (2 - index) & 1 != 0
                term = binary("and", term, isSet ? input : binary("xor", input, -1))
            }
            result = binary("or", result, term)
        }
        try finish(i, result, .b32)
    }

    /// Shifts by the width or more give all zeros, or all signs.
    func emitShift(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let a = try source(i, 1, type)
        let amount = try source(i, 2, .u32)
        let limit = compare("ult", amount, type.bits)
        if i.opcode == "shr", type.isSigned {
            let clamped = select(limit, amount, integer(type.bits - 1, .i32))
            return try finish(i, binary("ashr", a, resize(clamped, a.type, signed: false)), type)
        }
        let safe = select(limit, amount, integer(0, .i32))
        let shifted = binary(i.opcode == "shl" ? "shl" : "lshr", a, resize(safe, a.type, signed: false))
        try finish(i, select(limit, shifted, integer(0, a.type)), type)
    }

    func emitFunnelShift(_ i: Instruction) throws(PTXError) {
        let low = resize(try source(i, 1, .b32), .i64, signed: false)
        let high = resize(try source(i, 2, .b32), .i64, signed: false)
        let amount = try source(i, 3, .u32)
        let safe =
            i.has("wrap")
            ? binary("and", amount, 31) : intrinsic("umin", amount, integer(32, .i32))
        let both = binary("or", binary("shl", high, 32), low)
        let wide = resize(safe, .i64, signed: false)
        let result = i.has("l") ? binary("lshr", binary("shl", both, wide), 32) : binary("lshr", both, wide)
        try finish(i, resize(result, .i32, signed: false), .b32)
    }

    /// Picks four of eight bytes, or of their signs.
    func emitPermute(_ i: Instruction) throws(PTXError) {
        let a = resize(try source(i, 1, .b32), .i64, signed: false)
        let b = resize(try source(i, 2, .b32), .i64, signed: false)
        let selector = try source(i, 3, .b32)
        let bytes = binary("or", binary("shl", b, 32), a)
        var result = integer(0, .i32)
        for position in 0..<4 {
            let chosen = try permuteSelector(i, selector, position)
            let index = resize(binary("and", chosen, 7), .i64, signed: false)
            let byte = binary("lshr", bytes, binary("shl", index, 3))
            let low = resize(byte, .i8, signed: false)
            let signs = binary("ashr", low, 7)
            let usesSign = compare("ne", binary("and", chosen, 8), 0)
            let picked = resize(select(usesSign, signs, low), .i32, signed: false)
            result = binary("or", result, position == 0 ? picked : binary("shl", picked, 8 * position))
        }
        try finish(i, result, .b32)
    }

    private func permuteSelector(_ i: Instruction, _ selector: Value, _ position: Int) throws(PTXError) -> Value {
        guard let mode = i.modifiers.first else { return binary("lshr", selector, 4 * position) }
        // Tables of the modes, by the two lowest bits of the selector (PTX ISA, "prmt").
        let tables: [String: [[Int]]] = [
            "f4e": [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]],
            "b4e": [[0, 7, 6, 5], [1, 0, 7, 6], [2, 1, 0, 7], [3, 2, 1, 0]],
            "rc8": [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]],
            "ecl": [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 3], [3, 3, 3, 3]],
            "ecr": [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]],
            "rc16": [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1], [2, 3, 2, 3]],
        ]
        guard let table = tables[mode] else { throw unsupportedForm(i) }
        var packed = 0
        for (row, entry) in table.enumerated() { packed |= entry[position] << (4 * row) }
        let row = binary("shl", binary("and", selector, 3), 2)
        return binary("and", binary("lshr", integer(packed, .i32), row), 15)
    }

    func emitBitCount(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let a = try source(i, 1, type)
        switch i.opcode {
        case "popc": try finish(i, resize(intrinsic("ctpop", a), .i32, signed: false), .u32)
        case "brev": try finish(i, intrinsic("bitreverse", a), type)
        case "clz":
            let count = call(a.type, "llvm.ctlz.\(a.type.rawValue)", [a, Value(text: "false", type: .i1)])
            try finish(i, resize(count, .i32, signed: false), .u32)
        default:
            // The highest bit that differs from the sign; all ones when there is none.
            let bits = type.isSigned ? binary("xor", a, binary("ashr", a, type.bits - 1)) : a
            let zeros = call(a.type, "llvm.ctlz.\(a.type.rawValue)", [bits, Value(text: "false", type: .i1)])
            let position = binary("sub", integer(type.bits - 1, a.type), zeros)
            let found = i.has("shiftamt") ? select(compare("eq", bits, 0), integer(-1, a.type), zeros) : position
            try finish(i, resize(found, .i32, signed: true), .u32)
        }
    }

    /// Extracts `length` bits from `start`; beyond the top is the sign, or zero.
    func emitBitFieldExtract(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let a = try source(i, 1, type)
        let start = binary("and", try source(i, 2, .u32), 255)
        let length = binary("and", try source(i, 3, .u32), 255)
        let wide = LLVMType.integer(bits: type.bits * 2)
        let top = type.bits - 1
        // Extended to twice the width, so that a field that sticks out needs no special case.
        let extended = resize(a, wide, signed: type.isSigned)
        let from = resize(intrinsic("umin", start, integer(top, .i32)), wide, signed: false)
        // A signed field that starts above the top is all sign; an unsigned one is empty.
        let moved = binary("ashr", extended, from)
        let count = resize(intrinsic("umin", length, integer(type.bits, .i32)), wide, signed: false)
        let unused = binary("sub", integer(type.bits * 2, wide), count)
        let isEmpty = compare("eq", length, 0)
        let safe = select(isEmpty, integer(0, wide), unused)
        let field = binary(type.isSigned ? "ashr" : "lshr", binary("shl", moved, safe), safe)
        var result = select(isEmpty, integer(0, type.llvm), resize(field, type.llvm, signed: false))
        if !type.isSigned { result = select(compare("ugt", start, top), integer(0, type.llvm), result) }
        try finish(i, result, type)
    }

    func emitBitFieldInsert(_ i: Instruction) throws(PTXError) {
        let type = try type(i)
        let a = try source(i, 1, type), b = try source(i, 2, type)
        let start = binary("and", try source(i, 3, .u32), 255)
        let length = binary("and", try source(i, 4, .u32), 255)
        let mask = fieldMask(start, length, bits: type.bits)
        let isBeyond = compare("ugt", start, type.bits - 1)
        let safe = resize(select(isBeyond, integer(0, .i32), start), type.llvm, signed: false)
        let placed = binary("and", binary("shl", a, safe), mask)
        try finish(i, binary("or", placed, binary("and", b, binary("xor", mask, -1))), type)
    }

    /// Ones at `length` bits from `start`, cut off at the top.
    private func fieldMask(_ start: Value, _ length: Value, bits: Int) -> Value {
        let wide = LLVMType.integer(bits: bits * 2), narrow = LLVMType.integer(bits: bits)
        let count = resize(intrinsic("umin", length, integer(bits, .i32)), wide, signed: false)
        let from = resize(intrinsic("umin", start, integer(bits, .i32)), wide, signed: false)
        let ones = binary("sub", binary("shl", integer(1, wide), count), 1)
        return resize(binary("shl", ones, from), narrow, signed: false)
    }

    func emitBitMask(_ i: Instruction) throws(PTXError) {
        let wraps = i.has("wrap")
        if i.opcode == "bmsk" {
            var start = try source(i, 1, .u32), length = try source(i, 2, .u32)
            if wraps {
                start = binary("and", start, 31)
                length = binary("and", length, 31)
            }
            return try finish(i, fieldMask(start, length, bits: 32), .b32)
        }
        let type = try type(i)
        let a = try source(i, 1, type)
        var width = try source(i, 2, .u32)
        if wraps { width = binary("and", width, 31) }
        let kept = intrinsic("umin", width, integer(32, .i32))
        let unused = resize(binary("sub", integer(64, .i32), kept), .i64, signed: false)
        let isEmpty = compare("eq", width, 0)
        let safe = select(isEmpty, integer(0, .i64), unused)
        let wide = binary("shl", resize(a, .i64, signed: type.isSigned), safe)
        let field = resize(binary(type.isSigned ? "ashr" : "lshr", wide, safe), .i32, signed: false)
        try finish(i, select(isEmpty, integer(0, .i32), field), type)
    }

    func emitFindNthSet(_ i: Instruction) throws(PTXError) {
        let found = pure(.i32, "sg_fns", [try source(i, 1, .b32), try source(i, 2, .b32), try source(i, 3, .s32)])
        try finish(i, found, .b32)
    }
}

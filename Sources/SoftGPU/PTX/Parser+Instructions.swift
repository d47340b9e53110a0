// SPDX-License-Identifier: Apache-2.0

extension Parser {
    /// Operands of one instruction; the widest, a matrix operation or call, has far fewer.
    static let operandsMax = 4096

    mutating func parseInstruction(_ body: inout FunctionBuilder) throws(PTXError) {
        var instruction = Instruction(line: reader.line, opcode: "")
        if reader.take("@") {
            let isNegated = reader.take("!")
            let line = reader.line
            let name = try reader.identifier()
            guard case .register(let register)? = body.declaration(of: name) else {
                throw .invalid("'\(name)' is not a register", line: line)
            }
            guard body.function.registers[register].type == .pred else {
                throw .invalid("the guard '\(name)' is not a predicate", line: line)
            }
            instruction.guardedBy = Guard(register: register, isNegated: isNegated)
        }
        instruction.line = reader.line
        instruction.opcode = try reader.identifier()
        guard Opcodes.isKnown(instruction.opcode) else {
            throw .invalid("unknown instruction '\(instruction.opcode)'", line: instruction.line)
        }
        while reader.current.kind == .dotWord {
            let word = try reader.dotWord()
            if let type = ScalarType.named(word) {
                instruction.types.append(type)
            } else {
                instruction.modifiers.append(word)
            }
        }
        while !reader.take(";") {
            guard instruction.operands.count < Self.operandsMax else {
                throw .invalid("an instruction has too many operands", line: instruction.line)
            }
            instruction.operands.append(try parseOperand(&body, depth: 0))
            if !reader.isPunctuation(";") { try reader.expect(",") }
        }
        body.append(.instruction(instruction))
    }

    private mutating func parseOperand(_ body: inout FunctionBuilder, depth: Int) throws(PTXError) -> Operand {
        guard depth < Self.nestingMax else { throw .invalid("operands are nested too deeply", line: reader.line) }
        let token = reader.current
        switch token.kind {
        case .identifier: return try parseNamed(&body)
        case .integer, .float32, .float64: return try parseNumber(isNegative: false)
        case .punctuation:
            if reader.take("-") { return try parseNumber(isNegative: true) }
            if reader.take("!") { return .not(try parseOperand(&body, depth: depth + 1)) }
            if reader.take("{") {
                let vector = Operand.vector(try parseOperands(until: "}", &body, depth))
                guard reader.take("|") else { return vector }
                return .pair(vector, try parseNamed(&body))
            }
            if reader.take("(") { return .list(try parseOperands(until: ")", &body, depth)) }
            if reader.take("[") { return try parseAddress(&body, depth) }
            throw reader.unexpected("an operand")
        default: throw reader.unexpected("an operand")
        }
    }

    private mutating func parseOperands(
        until closing: Unicode.Scalar, _ body: inout FunctionBuilder, _ depth: Int
    ) throws(PTXError) -> [Operand] {
        var operands: [Operand] = []
        while !reader.take(closing) {
            guard operands.count < Self.operandsMax else {
                throw .invalid("a list has too many operands", line: reader.line)
            }
            operands.append(try parseOperand(&body, depth: depth + 1))
            if !reader.isPunctuation(closing) { try reader.expect(",") }
        }
        return operands
    }

    /// `[base+offset]`, or `[surface, {x, y}]`; the bracket is already taken.
    private mutating func parseAddress(_ body: inout FunctionBuilder, _ depth: Int) throws(PTXError) -> Operand {
        let base = try parseOperand(&body, depth: depth + 1)
        let offset = try parseOffset()
        var rest: [Operand] = []
        if reader.take(",") { rest = try parseOperands(until: "]", &body, depth) } else { try reader.expect("]") }
        switch base {
        case .variable(let index, let inner):
            return .address(.variable(index, offset: 0), offset: inner &+ offset, rest: rest)
        case .name(let index, let inner): return .address(.name(index, offset: 0), offset: inner &+ offset, rest: rest)
        default: return .address(base, offset: offset, rest: rest)
        }
    }

    private mutating func parseNumber(isNegative: Bool) throws(PTXError) -> Operand {
        let token = reader.current
        reader.advance()
        switch token.kind {
        case .integer: return .integer(isNegative ? 0 &- token.value : token.value)
        case .float32: return .float32(UInt32(truncatingIfNeeded: token.value) ^ (isNegative ? 1 << 31 : 0))
        case .float64: return .float64(token.value ^ (isNegative ? 1 << 63 : 0))
        default: throw .invalid("expected a number, found '\(reader.spelling(token))'", line: token.line)
        }
    }

    private mutating func parseNamed(_ body: inout FunctionBuilder) throws(PTXError) -> Operand {
        let line = reader.line
        let name = try reader.identifier()
        let first: Operand
        switch body.declaration(of: name) {
        case .register(let register): first = .register(register)
        case .variable(let variable): first = .variable(variable, offset: try parseOffset())
        case nil where name == "_": first = .sink
        case nil where name == "WARP_SZ": first = .integer(32)
        case nil where name.hasPrefix("%"): first = try parseSpecial(name, line: line)
        case nil:
            let use = body.use(of: name, line: line)
            first = .name(use, offset: try parseOffset())
        }
        guard reader.take("|") else { return first }
        let second = try parseNamed(&body)
        return .pair(first, second)
    }

    private mutating func parseSpecial(_ name: String, line: Int) throws(PTXError) -> Operand {
        var special = String(name.dropFirst())
        if reader.current.kind == .dotWord { special += "." + (try reader.dotWord()) }
        guard SpecialRegisters.isKnown(special) else {
            throw .invalid("'\(name)' is not declared", line: line)
        }
        return .special(special)
    }
}

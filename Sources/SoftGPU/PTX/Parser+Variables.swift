// SPDX-License-Identifier: Apache-2.0

extension Parser {
    /// `.align 4 .b8 name[16] = {...}, other;` behind the word that names the space.
    mutating func parseVariables(_ space: StateSpace, _ linkage: Linkage) throws(PTXError) -> [Variable] {
        var shape = try parseShape(space)
        var variables: [Variable] = []
        repeat {
            shape.linkage = linkage
            var variable = try parseDeclarator(shape)
            if reader.take("=") {
                guard variable.reference == nil else {
                    throw .unsupported("textures and surfaces with initial values", line: variable.line)
                }
                variable.initial = try parseInitializer(variable)
            }
            guard variable.reference == nil || variable.count == 1 else {
                throw .unsupported("arrays of textures and surfaces", line: variable.line)
            }
            if variable.count == 0, !variable.initial.isEmpty { variable.count = variable.initial.count }
            guard variable.initial.count <= max(variable.count, 1) else {
                throw .invalid("'\(variable.name)' has more initial values than elements", line: variable.line)
            }
            variables.append(variable)
        } while reader.take(",")
        try reader.expect(";")
        return variables
    }

    /// One parameter of a function or kernel: `.param .u64 .ptr .global .align 4 name`, or a register.
    mutating func parseParameter() throws(PTXError) -> (variable: Variable, isRegister: Bool) {
        if reader.takeDotWord("reg") {
            guard let type = reader.takeType() else { throw reader.unexpected("a type") }
            let line = reader.line
            let variable = Variable(
                name: try reader.identifier(), space: .param, type: type, count: 1, alignment: type.bytes,
                linkage: .module, initial: [], line: line)
            return (variable, true)
        }
        guard reader.takeDotWord("param") else { throw reader.unexpected("'.param'") }
        var shape = try parseShape(.param)
        while reader.current.kind == .dotWord {
            // The kind of memory a pointer parameter points to is a hint: `.ptr .global .align 16`.
            let word = try reader.dotWord()
            if word == "align" { _ = try reader.integer() }
        }
        shape.linkage = .module
        return (try parseDeclarator(shape), false)
    }

    /// The alignment, attributes and type that stand before the names.
    private mutating func parseShape(_ space: StateSpace) throws(PTXError) -> Variable {
        var variable = Variable(
            name: "", space: space, type: .b8, count: 1, alignment: 0, linkage: .module, initial: [],
            line: reader.line)
        var elements = 1
        while reader.current.kind == .dotWord {
            if let type = reader.takeType() {
                variable.type = type
                variable.count = elements
                if variable.alignment == 0 { variable.alignment = type.bytes * elements }
                return variable
            }
            let token = reader.current
            switch try reader.dotWord() {
            case "align":
                variable.alignment = try reader.count(limit: 1 << 16)
                guard variable.alignment.nonzeroBitCount == 1 else {
                    throw .invalid("an alignment must be a power of two", line: token.line)
                }
            case "v2": elements = 2
            case "v4": elements = 4
            case "v8": elements = 8
            case "attribute": try skipParentheses()
            case "texref" where space == .global, "surfref" where space == .global:
                // The module's own name of a texture or surface, of 64 bits that no program sees.
                variable.reference = token.end - token.start == "texref".utf8.count ? .texture : .surface
                (variable.type, variable.count, variable.alignment) = (.b64, 1, 8)
                return variable
            case "texref", "samplerref", "surfref":
                throw .unsupported(
                    "samplers of their own, and textures and surfaces as parameters, are not supported",
                    line: token.line)
            case let word:
                throw .invalid("unknown word '.\(word)' in a variable declaration", line: token.line)
            }
        }
        throw reader.unexpected("a type")
    }

    private mutating func skipParentheses() throws(PTXError) {
        try reader.expect("(")
        while !reader.take(")") {
            if reader.current.kind == .end { throw reader.unexpected("')'") }
            reader.advance()
        }
    }

    private mutating func parseDeclarator(_ shape: Variable) throws(PTXError) -> Variable {
        var variable = shape
        variable.line = reader.line
        variable.name = try reader.identifier()
        while reader.take("[") {
            if reader.take("]") {
                variable.count = 0
                continue
            }
            let length = try reader.count(limit: Self.variableBytesMax)
            let (count, overflow) = variable.count.multipliedReportingOverflow(by: length)
            guard !overflow, count <= Self.variableBytesMax / 16 else {
                throw .invalid("'\(variable.name)' is too large", line: variable.line)
            }
            variable.count = count
            try reader.expect("]")
        }
        return variable
    }

    private mutating func parseInitializer(_ variable: Variable) throws(PTXError) -> [InitialValue] {
        var values: [InitialValue] = []
        try parseInitialValues(into: &values, depth: 0)
        return values
    }

    private mutating func parseInitialValues(into values: inout [InitialValue], depth: Int) throws(PTXError) {
        guard reader.take("{") else {
            values.append(try parseInitialValue())
            return
        }
        guard depth < Self.nestingMax else { throw .invalid("braces are nested too deeply", line: reader.line) }
        while !reader.take("}") {
            try parseInitialValues(into: &values, depth: depth + 1)
            if !reader.isPunctuation("}") { try reader.expect(",") }
        }
    }

    /// A number, `symbol+4`, `generic(symbol)+4`, or one byte of an address as `0xFF00(symbol)`.
    private mutating func parseInitialValue() throws(PTXError) -> InitialValue {
        let isNegative = reader.take("-")
        let token = reader.current
        switch token.kind {
        case .float32:  // A bit pattern; the sign, if any, flips its top bit.
            reader.advance()
            return .bits(isNegative ? token.value ^ 1 << 31 : token.value)
        case .float64:
            reader.advance()
            let spelled = reader.text[token.start] == UInt8(ascii: "0") && token.end - token.start == 18
            let bits = isNegative ? token.value ^ 1 << 63 : token.value
            return spelled ? .bits(bits) : .number(Double(bitPattern: bits))
        case .integer:
            reader.advance()
            guard reader.take("(") else { return .bits(isNegative ? 0 &- token.value : token.value) }
            let mask = token.value
            guard mask != 0, mask == 0xFF << UInt64(mask.trailingZeroBitCount), mask.trailingZeroBitCount % 8 == 0
            else {
                throw .invalid("an address mask selects one byte", line: token.line)
            }
            let (name, offset) = try parseSymbol()
            try reader.expect(")")
            return .address(of: name, offset: offset, shift: mask.trailingZeroBitCount, isByte: true)
        case .identifier:
            let (name, offset) = try parseSymbol()
            return .address(of: name, offset: offset, shift: 0, isByte: false)
        default:
            throw reader.unexpected("an initial value")
        }
    }

    private mutating func parseSymbol() throws(PTXError) -> (name: String, offset: Int64) {
        var name = try reader.identifier()
        if name == "generic", reader.take("(") {
            name = try reader.identifier()
            let inner = try parseOffset()
            try reader.expect(")")
            return (name, inner &+ (try parseOffset()))
        }
        return (name, try parseOffset())
    }

    /// `+4`, `-4`, `+-4`, or nothing.
    mutating func parseOffset() throws(PTXError) -> Int64 {
        if reader.take("+") { return try reader.integer() }
        if reader.isPunctuation("-") { return try reader.integer() }
        return 0
    }
}

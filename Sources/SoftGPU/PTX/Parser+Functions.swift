// SPDX-License-Identifier: Apache-2.0

extension Parser {
    /// `(.param .b32 r) name (.param .b32 a, ...) .maxntid 1, 1, 1 { ... }` behind `.entry` or `.func`.
    mutating func parseFunction(isKernel: Bool, _ linkage: Linkage, line: Int) throws(PTXError) -> Function {
        var body = FunctionBuilder(
            function: Function(name: "", isKernel: isKernel, linkage: linkage, line: line))
        while reader.current.kind == .dotWord {
            // `.attribute(...)` and `.noreturn` may stand before the name.
            reader.advance()
            if reader.isPunctuation("("), reader.ahead(1).kind == .identifier { try skipList() }
        }
        if reader.isPunctuation("(") { body.function.returns = try parseParameters(&body) }
        body.function.name = try reader.identifier()
        if reader.isPunctuation("(") { body.function.parameters = try parseParameters(&body) }
        try parseFunctionDirectives(&body.function)
        if reader.take(";") { return body.function }
        guard reader.isPunctuation("{") else { throw reader.unexpected("'{' or ';'") }
        body.function.isDeclaration = false
        try parseBlock(&body, depth: 0)
        return try body.finished()
    }

    private mutating func skipList() throws(PTXError) {
        while !reader.take(")") {
            if reader.current.kind == .end { throw reader.unexpected("')'") }
            reader.advance()
        }
    }

    private mutating func parseParameters(_ body: inout FunctionBuilder) throws(PTXError) -> [Int] {
        try reader.expect("(")
        var indices: [Int] = []
        while !reader.take(")") {
            let (variable, isRegister) = try parseParameter()
            guard !isRegister else {
                throw .unsupported("parameters in registers are not supported", line: variable.line)
            }
            indices.append(try body.declare(variable))
            if !reader.isPunctuation(")") { try reader.expect(",") }
        }
        return indices
    }

    private mutating func parseFunctionDirectives(_ function: inout Function) throws(PTXError) {
        while reader.current.kind == .dotWord {
            let token = reader.current
            switch try reader.dotWord() {
            case "maxntid", "reqntid":
                var threads = try reader.count(limit: 1 << 20)
                while reader.take(",") { threads = threads &* (try reader.count(limit: 1 << 20)) }
                function.threadsMax = max(1, min(threads, 1024))
            case "minnctapersm", "maxnctapersm", "maxnreg", "maxclusterrank", "abi_preserve", "abi_preserve_control":
                _ = try reader.integer()
            case "reqnctapercluster":
                repeat { _ = try reader.integer() } while reader.take(",")
            case "noreturn", "explicitcluster", "blocksareclusters": break
            case "pragma": try skipStatement()
            case let word: throw .invalid("unknown directive '.\(word)'", line: token.line)
            }
        }
    }

    private mutating func parseBlock(_ body: inout FunctionBuilder, depth: Int) throws(PTXError) {
        guard depth < Self.nestingMax else { throw .invalid("blocks are nested too deeply", line: reader.line) }
        try reader.expect("{")
        body.open()
        while !reader.take("}") {
            if reader.isPunctuation("{") {
                try parseBlock(&body, depth: depth + 1)
            } else {
                try parseStatement(&body)
            }
        }
        body.close()
    }

    private mutating func parseStatement(_ body: inout FunctionBuilder) throws(PTXError) {
        let token = reader.current
        switch token.kind {
        case .dotWord:
            try parseBodyDirective(try reader.dotWord(), token, &body)
        case .identifier where reader.isPunctuation(":", ahead: 1):
            let label = try body.declareLabel(try reader.identifier(), line: token.line)
            reader.advance()
            try parseLabelled(label, &body)
        case .identifier:
            try parseInstruction(&body)
        case .punctuation where reader.isPunctuation("@"):
            try parseInstruction(&body)
        case .punctuation where reader.isPunctuation(";"):
            reader.advance()
        default:
            throw reader.unexpected("a statement")
        }
    }

    private mutating func parseBodyDirective(
        _ word: String, _ token: Token, _ body: inout FunctionBuilder
    ) throws(PTXError) {
        switch word {
        case "reg": try parseRegisters(&body)
        case "local", "shared", "param", "global", "const":
            guard let space = StateSpace(rawValue: word) else { return }
            for variable in try parseVariables(space, .module) { _ = try body.declare(variable) }
        case "loc", "file": reader.skipLine(of: token)
        case "pragma": try skipStatement()
        default: throw .invalid("unknown directive '.\(word)'", line: token.line)
        }
    }

    /// Reads `.reg .b32 a, b, %r<10>;`.
    private mutating func parseRegisters(_ body: inout FunctionBuilder) throws(PTXError) {
        guard let type = reader.takeType() else {
            throw .unsupported("vector registers are not supported", line: reader.line)
        }
        repeat {
            let line = reader.line
            let name = try reader.identifier()
            if reader.take("<") {
                let count = try reader.count(limit: 1 << 30)
                try reader.expect(">")
                body.declareFamily(name, RegisterFamily(type: type, count: UInt64(count)))
            } else {
                try body.declareRegister(name, type, line: line)
            }
        } while reader.take(",")
        try reader.expect(";")
    }

    /// What follows a label: a directive that the label names, or an ordinary statement.
    private mutating func parseLabelled(_ label: Int, _ body: inout FunctionBuilder) throws(PTXError) {
        guard reader.current.kind == .dotWord else { return body.append(.label(label)) }
        switch reader.spelling(reader.current) {
        case "branchtargets":
            reader.advance()
            body.function.branchTargets[label] = []
            repeat {
                let line = reader.line
                let use = body.use(of: try reader.identifier(), line: line)
                body.branchTargetUses.append((label, use))
            } while reader.take(",")
            try reader.expect(";")
        case "calltargets":
            // The list is a hint; the call finds its function by address.
            try skipStatement()
            body.function.prototypes[label] = Prototype(returnCount: -1, parameterCount: -1)
        case "callprototype":
            reader.advance()
            body.function.prototypes[label] = try parsePrototype()
        default:
            body.append(.label(label))
        }
    }

    private mutating func parsePrototype() throws(PTXError) -> Prototype {
        var prototype = Prototype(returnCount: 0, parameterCount: 0)
        if reader.isPunctuation("(") { prototype.returnCount = try countParameters() }
        _ = try reader.identifier()
        if reader.isPunctuation("(") { prototype.parameterCount = try countParameters() }
        try skipStatement()
        return prototype
    }

    private mutating func countParameters() throws(PTXError) -> Int {
        try reader.expect("(")
        var count = 0
        while !reader.take(")") {
            _ = try parseParameter()
            count += 1
            if !reader.isPunctuation(")") { try reader.expect(",") }
        }
        return count
    }
}

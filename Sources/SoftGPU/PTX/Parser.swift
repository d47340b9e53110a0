// SPDX-License-Identifier: Apache-2.0

/// Reads a PTX text into a `Module` (PTX ISA 9.x and older, "Syntax" and "Directives").
///
/// Names of registers, variables and labels are resolved here; names of the module stay names, because the text they
/// mean may be linked later.
package struct Parser {
    /// Variables of a module and arrays in a function may not exceed this, so that sizes cannot overflow.
    static let variableBytesMax = 1 << 40
    /// Deeper nested blocks and operands are refused, so that a hostile text cannot exhaust the stack.
    static let nestingMax = 64

    var reader: TokenReader
    var module = Module()

    package static func parse(_ text: [UInt8]) throws(PTXError) -> Module {
        var parser = Parser(reader: try TokenReader(text: text))
        try parser.parseModule()
        return parser.module
    }

    private mutating func parseModule() throws(PTXError) {
        while reader.current.kind != .end {
            if reader.take(";") { continue }
            let token = reader.current
            let word = try reader.dotWord()
            switch word {
            case "version": try parseVersion(token)
            case "target": try parseTarget()
            case "address_size":
                guard try reader.integer() == 64 else {
                    throw .unsupported("only 64-bit addresses are supported", line: token.line)
                }
            case "file", "loc": reader.skipLine(of: token)
            case "section": try skipSection()
            case "pragma": try skipStatement()
            case "alias": try parseAlias()
            case "visible", "extern", "weak", "common": try parseLinked(linkage(word))
            default: try parseDeclaration(word, .module, token)
            }
        }
        guard module.version > 0 else { throw .invalid("the text does not begin with .version", line: 1) }
    }

    private func linkage(_ word: String) -> Linkage {
        switch word {
        case "visible": .visible
        case "extern": .extern
        case "weak": .weak
        default: .common
        }
    }

    private mutating func parseLinked(_ linkage: Linkage) throws(PTXError) {
        let token = reader.current
        try parseDeclaration(try reader.dotWord(), linkage, token)
    }

    private mutating func parseDeclaration(_ word: String, _ linkage: Linkage, _ token: Token) throws(PTXError) {
        switch word {
        case "entry", "func":
            module.functions.append(try parseFunction(isKernel: word == "entry", linkage, line: token.line))
        case "global", "const", "shared", "local":
            guard let space = StateSpace(rawValue: word) else { return }
            module.variables += try parseVariables(space, linkage)
        case "tex":
            throw .unsupported("textures are not supported", line: token.line)
        default:
            throw .invalid("unknown directive '.\(word)'", line: token.line)
        }
    }

    /// `.version 9.5`; the lexer reads it as a decimal number, `.version 9` is not allowed.
    private mutating func parseVersion(_ token: Token) throws(PTXError) {
        guard reader.current.kind == .float64 else { throw reader.unexpected("a version number") }
        let parts = reader.spelling(reader.current).split(separator: ".")
        guard parts.count == 2, let major = Int(parts[0]), let minor = Int(parts[1]), major < 100, minor < 10 else {
            throw reader.unexpected("a version number")
        }
        reader.advance()
        module.version = major * 10 + minor
        guard module.version <= 99 else {
            throw .unsupported("PTX version \(major).\(minor) is newer than this compiler", line: token.line)
        }
    }

    /// Reads `.target sm_75, texmode_independent`.
    private mutating func parseTarget() throws(PTXError) {
        repeat {
            let word = try reader.identifier()
            guard word.hasPrefix("sm_") || word.hasPrefix("compute_") else { continue }
            let digits = word.drop { $0 != "_" }.dropFirst().prefix { $0.isNumber }
            guard let target = Int(digits), target < 1000 else {
                throw .invalid("unknown target '\(word)'", line: reader.line)
            }
            module.target = target
        } while reader.take(",")
    }

    /// Debug information, which the software GPU has no use for.
    private mutating func skipSection() throws(PTXError) {
        while !reader.isPunctuation("{"), reader.current.kind != .end { reader.advance() }
        try reader.expect("{")
        var depth = 1
        while depth > 0 {
            if reader.current.kind == .end { throw .invalid("a section is not closed", line: reader.line) }
            if reader.isPunctuation("{") { depth += 1 }
            if reader.isPunctuation("}") { depth -= 1 }
            reader.advance()
        }
    }

    mutating func skipStatement() throws(PTXError) {
        while !reader.take(";") {
            if reader.current.kind == .end { throw reader.unexpected("';'") }
            reader.advance()
        }
    }

    private mutating func parseAlias() throws(PTXError) {
        let alias = try reader.identifier()
        try reader.expect(",")
        module.aliases[alias] = try reader.identifier()
        try reader.expect(";")
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Walks over the words of a PTX text: looks ahead, takes, and says what was expected.
struct TokenReader {
    let text: [UInt8]
    private let tokens: [Token]
    private(set) var position = 0

    init(text: [UInt8]) throws(PTXError) {
        self.text = text
        tokens = try Lexer.tokens(of: text)
    }

    var current: Token { tokens[position] }

    var line: Int { current.line }

    /// The word `distance` words further on; the end of the text stays the end.
    func ahead(_ distance: Int) -> Token { tokens[min(position + distance, tokens.count - 1)] }

    mutating func advance() { position = min(position + 1, tokens.count - 1) }

    func spelling(_ token: Token) -> String { String(decoding: text[token.start..<token.end], as: UTF8.self) }

    func isPunctuation(_ character: Unicode.Scalar, ahead distance: Int = 0) -> Bool {
        let token = ahead(distance)
        return token.kind == .punctuation && token.value == UInt64(character.value)
    }

    mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard isPunctuation(character) else { return false }
        advance()
        return true
    }

    mutating func expect(_ character: Unicode.Scalar) throws(PTXError) {
        guard take(character) else { throw unexpected("'\(character)'") }
    }

    mutating func identifier() throws(PTXError) -> String {
        guard current.kind == .identifier else { throw unexpected("a name") }
        defer { advance() }
        return spelling(current)
    }

    mutating func dotWord() throws(PTXError) -> String {
        guard current.kind == .dotWord else { throw unexpected("a word with a dot") }
        defer { advance() }
        return spelling(current)
    }

    /// Takes the next word if it is this dotted one.
    mutating func takeDotWord(_ word: String) -> Bool {
        guard current.kind == .dotWord, spelling(current) == word else { return false }
        advance()
        return true
    }

    mutating func takeType() -> ScalarType? {
        guard current.kind == .dotWord, let type = ScalarType.named(spelling(current)) else { return nil }
        advance()
        return type
    }

    mutating func integer() throws(PTXError) -> Int64 {
        let isNegative = take("-")
        guard current.kind == .integer else { throw unexpected("an integer") }
        defer { advance() }
        let value = Int64(bitPattern: current.value)
        return isNegative ? 0 &- value : value
    }

    /// An integer that counts something: at least 0 and at most `limit`.
    mutating func count(limit: Int) throws(PTXError) -> Int {
        let token = current
        let value = try integer()
        guard value >= 0, value <= Int64(limit) else {
            throw .invalid("\(value) is out of range (at most \(limit))", line: token.line)
        }
        return Int(value)
    }

    /// Skips the words that are left of a directive which ends with its line.
    mutating func skipLine(of token: Token) {
        while current.kind != .end, current.line == token.line { advance() }
    }

    func unexpected(_ expected: String) -> PTXError {
        let found = current.kind == .end ? "the end of the text" : "'\(spelling(current))'"
        return .invalid("expected \(expected), found \(found)", line: line)
    }
}

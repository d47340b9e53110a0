// SPDX-License-Identifier: Apache-2.0

/// One word of a PTX text.
struct Token {
    enum Kind: UInt8 {
        case identifier
        /// A word with its leading dot, such as `.u32` or `.L2::128B`; `start` is behind the dot.
        case dotWord
        case integer
        case float32
        case float64
        case string
        /// A single character; `value` is its code.
        case punctuation
        case end
    }

    var kind: Kind
    var start: Int
    var end: Int
    var line: Int
    /// The bits of a number, or the code of a punctuation character.
    var value: UInt64 = 0
}

/// Cuts a PTX text into words.
///
/// Works on bytes: a module may be megabytes long.
struct Lexer {
    /// A text longer than this is refused, so that a damaged length cannot take the machine's memory.
    static let textBytesMax = 256 << 20

    private let text: [UInt8]
    private var position = 0
    private var line = 1

    init(_ text: [UInt8]) { self.text = text }

    /// All words of the text, followed by one `.end`.
    static func tokens(of text: [UInt8]) throws(PTXError) -> [Token] {
        guard text.count <= textBytesMax else { throw .invalid("the PTX text is longer than 256 MiB", line: 0) }
        var lexer = Lexer(text)
        var tokens: [Token] = []
        tokens.reserveCapacity(text.count / 4)
        while true {
            let token = try lexer.next()
            tokens.append(token)
            if token.kind == .end { return tokens }
        }
    }

    private func byte(at index: Int) -> UInt8 { index < text.count ? text[index] : 0 }

    private mutating func next() throws(PTXError) -> Token {
        try skipBlanks()
        let start = position
        let first = byte(at: position)
        if position >= text.count || first == 0 { return Token(kind: .end, start: start, end: start, line: line) }
        if Self.startsIdentifier(first) {
            position += 1
            while Self.continuesIdentifier(byte(at: position)) { position += 1 }
            return Token(kind: .identifier, start: start, end: position, line: line)
        }
        if Self.isDigit(first) { return try number() }
        if first == UInt8(ascii: "."), Self.continuesIdentifier(byte(at: position + 1)) { return dotWord() }
        if first == UInt8(ascii: "\"") { return try string() }
        position += 1
        return Token(kind: .punctuation, start: start, end: position, line: line, value: UInt64(first))
    }

    private mutating func skipBlanks() throws(PTXError) {
        while position < text.count {
            switch text[position] {
            case UInt8(ascii: "\n"):
                line += 1
                position += 1
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"):
                position += 1
            case UInt8(ascii: "/") where byte(at: position + 1) == UInt8(ascii: "/"):
                while position < text.count, text[position] != UInt8(ascii: "\n") { position += 1 }
            case UInt8(ascii: "/") where byte(at: position + 1) == UInt8(ascii: "*"):
                try skipBlockComment()
            default:
                return
            }
        }
    }

    private mutating func skipBlockComment() throws(PTXError) {
        let opened = line
        position += 2
        while position < text.count {
            if text[position] == UInt8(ascii: "*"), byte(at: position + 1) == UInt8(ascii: "/") {
                position += 2
                return
            }
            if text[position] == UInt8(ascii: "\n") { line += 1 }
            position += 1
        }
        throw .invalid("a comment is not closed", line: opened)
    }

    private mutating func dotWord() -> Token {
        position += 1
        let start = position
        while true {
            if Self.continuesIdentifier(byte(at: position)) {
                position += 1
            } else if byte(at: position) == UInt8(ascii: ":"), byte(at: position + 1) == UInt8(ascii: ":") {
                position += 2
            } else {
                return Token(kind: .dotWord, start: start, end: position, line: line)
            }
        }
    }

    private mutating func string() throws(PTXError) -> Token {
        let opened = line
        position += 1
        let start = position
        while position < text.count, text[position] != UInt8(ascii: "\"") {
            if text[position] == UInt8(ascii: "\n") { line += 1 }
            position += 1
        }
        guard position < text.count else { throw .invalid("a string is not closed", line: opened) }
        position += 1
        return Token(kind: .string, start: start, end: position - 1, line: opened)
    }

    /// Integers in all four bases, `0f`/`0d` bit patterns, and decimal floating-point numbers.
    private mutating func number() throws(PTXError) -> Token {
        let start = position
        let second = byte(at: position + 1) | 0x20
        if text[position] == UInt8(ascii: "0"), second == UInt8(ascii: "f") || second == UInt8(ascii: "d") {
            let digits = second == UInt8(ascii: "f") ? 8 : 16
            position += 2
            let bits = try integer(radix: 16, digitsMax: digits)
            guard position - start - 2 == digits else {
                throw .invalid("a floating-point bit pattern has \(digits) hexadecimal digits", line: line)
            }
            return Token(
                kind: digits == 8 ? .float32 : .float64, start: start, end: position, line: line, value: bits)
        }
        if text[position] == UInt8(ascii: "0"), second == UInt8(ascii: "x") || second == UInt8(ascii: "b") {
            position += 2
            let value = try integer(radix: second == UInt8(ascii: "x") ? 16 : 2, digitsMax: 64)
            return finishInteger(start, value)
        }
        if let end = decimalFloatEnd() {
            let digits = String(decoding: text[start..<end], as: UTF8.self)
            position = end
            guard let value = Double(digits) else { throw .invalid("'\(digits)' is not a number", line: line) }
            return Token(kind: .float64, start: start, end: end, line: line, value: value.bitPattern)
        }
        let isOctal = text[position] == UInt8(ascii: "0") && Self.isDigit(byte(at: position + 1))
        let value = try integer(radix: isOctal ? 8 : 10, digitsMax: 64)
        return finishInteger(start, value)
    }

    private mutating func finishInteger(_ start: Int, _ value: UInt64) -> Token {
        if byte(at: position) == UInt8(ascii: "U") { position += 1 }
        return Token(kind: .integer, start: start, end: position, line: line, value: value)
    }

    private mutating func integer(radix: UInt64, digitsMax: Int) throws(PTXError) -> UInt64 {
        var value: UInt64 = 0
        var digits = 0
        while let digit = Self.digit(byte(at: position)), digit < radix, digits < digitsMax {
            let (product, overflow) = value.multipliedReportingOverflow(by: radix)
            let (sum, carry) = product.addingReportingOverflow(digit)
            if overflow || carry { throw .invalid("a number does not fit 64 bits", line: line) }
            value = sum
            digits += 1
            position += 1
        }
        guard digits > 0 else { throw .invalid("a number has no digits", line: line) }
        return value
    }

    /// The end of a decimal floating-point number that starts here, or nil when this is an integer.
    private func decimalFloatEnd() -> Int? {
        var end = position
        while Self.isDigit(byte(at: end)) { end += 1 }
        var isFloat = false
        if byte(at: end) == UInt8(ascii: "."), Self.isDigit(byte(at: end + 1)) {
            isFloat = true
            end += 1
            while Self.isDigit(byte(at: end)) { end += 1 }
        }
        if byte(at: end) | 0x20 == UInt8(ascii: "e") {
            var exponent = end + 1
            if byte(at: exponent) == UInt8(ascii: "-") || byte(at: exponent) == UInt8(ascii: "+") { exponent += 1 }
            if Self.isDigit(byte(at: exponent)) {
                isFloat = true
                end = exponent
                while Self.isDigit(byte(at: end)) { end += 1 }
            }
        }
        return isFloat ? end : nil
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

    private static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- UInt8(ascii: "a") < 26 }

    private static func startsIdentifier(_ byte: UInt8) -> Bool {
        isLetter(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "$") || byte == UInt8(ascii: "%")
    }

    private static func continuesIdentifier(_ byte: UInt8) -> Bool {
        isLetter(byte) || isDigit(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "$")
    }

    private static func digit(_ byte: UInt8) -> UInt64? {
        if isDigit(byte) { return UInt64(byte - UInt8(ascii: "0")) }
        let letter = (byte | 0x20) &- UInt8(ascii: "a")
        return letter < 6 ? UInt64(letter) + 10 : nil
    }
}

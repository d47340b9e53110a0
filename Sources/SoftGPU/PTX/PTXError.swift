// SPDX-License-Identifier: Apache-2.0

/// What is wrong with a PTX text, and where.
///
/// It ends up in the JIT error log of `cuModuleLoadDataEx`.
package struct PTXError: Error, Equatable, Sendable {
    package enum Kind: Sendable {
        /// The text breaks the rules of PTX.
        case invalid
        /// The text is valid PTX that the software GPU does not execute.
        case unsupported
    }

    /// The line in the PTX text, from 1; 0 when no single line is to blame.
    package let line: Int
    package let message: String
    package let kind: Kind

    package init(line: Int, message: String, kind: Kind) {
        self.line = line
        self.message = message
        self.kind = kind
    }

    package static func invalid(_ message: String, line: Int) -> PTXError {
        PTXError(line: line, message: message, kind: .invalid)
    }

    package static func unsupported(_ message: String, line: Int) -> PTXError {
        PTXError(line: line, message: message, kind: .unsupported)
    }
}

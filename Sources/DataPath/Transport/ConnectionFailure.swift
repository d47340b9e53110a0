// SPDX-License-Identifier: Apache-2.0

/// Why there is no connection to a worker, in words for the user: what, where, and what to do.
package struct ConnectionFailure: Error, Sendable, CustomStringConvertible {
    package let message: String

    package init(_ message: String) { self.message = message }

    package var description: String { message }
}

// SPDX-License-Identifier: Apache-2.0

/// The peer broke the protocol.
///
/// It ends the connection.
package enum WireError: Error, Equatable, Sendable, CustomStringConvertible {
    case notThisProtocol
    case truncated(needed: Int, available: Int)
    case trailingBytes(Int)
    case tooLong(Int, limit: Int)
    case unknownCall(UInt16)
    case outOfSequence(expected: UInt64, found: UInt64)
    case handleInUse(UInt64)
    case tooManyHandles(limit: Int)
    case notText
    case malformedImage
    case malformedGraph

    package var description: String {
        switch self {
        case .notThisProtocol: "the peer does not speak this protocol"
        case .truncated(let needed, let available): "a frame ends early: \(needed) bytes wanted, \(available) there"
        case .trailingBytes(let count): "a frame has \(count) bytes too many"
        case .tooLong(let count, let limit): "a length of \(count) bytes is over the limit of \(limit)"
        case .unknownCall(let number): "call \(number) is not known"
        case .outOfSequence(let expected, let found): "frame \(found) came where \(expected) was expected"
        case .handleInUse(let number): "handle \(number) is in use"
        case .tooManyHandles(let limit): "more than \(limit) handles"
        case .notText: "a text is not UTF-8"
        case .malformedImage: "the parts of an image do not make it up"
        case .malformedGraph: "a graph's conditional nodes and bodies do not belong together"
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization
import Wire

/// Host functions on their way: a stream of the driver stops in ``callAndWait(_:)`` on a thread of the driver, the
/// session tells the client, and the client's answer lets the stream go on.
final class HostFunctionRelay: Sendable {
    private struct State {
        var expected = 0
        var due: [UInt64] = []
        var returned: Set<UInt64> = []
        var isClosed = false
    }

    private let state = Mutex(State())

    /// Whether a function has been enqueued and has not returned, so that the session must keep looking.
    var isBusy: Bool { state.withLock { $0.expected > 0 } }

    func expect() { state.withLock { $0.expected += 1 } }
    func forget() { state.withLock { $0.expected -= 1 } }

    /// Called by the driver when the stream has come to the function.
    func callAndWait(_ number: UInt64) {
        state.withLock { $0.due.append(number) }
        while !state.withLock({ $0.isClosed || $0.returned.remove(number) != nil }) {
            // Stops a stream, not the session; host functions are rare, and a wait of some microseconds is theirs.
            usleep(20)
        }
        state.withLock { $0.expected -= 1 }
    }

    func returned(_ number: UInt64) { state.withLock { _ = $0.returned.insert(number) } }

    /// Takes the functions that the client has to be told of.
    func takeDue() -> [UInt64] {
        state.withLock { state in
            defer { state.due.removeAll() }
            return state.due
        }
    }

    /// The client is gone: nobody will call the functions, and no stream may wait for them.
    func releaseAll() { state.withLock { $0.isClosed = true } }
}

extension Session {
    /// Tells the client which host functions are due.
    func announceHostFunctions() throws {
        guard hostFunctions.isBusy else { return }
        for number in hostFunctions.takeDue() {
            append(ReplyHeader(payloadByteCount: 0, status: 0, sequence: number, kind: .hostFunction))
        }
    }
}

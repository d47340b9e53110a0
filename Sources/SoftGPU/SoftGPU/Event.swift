// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// An event: the last point in a stream's work at which it was recorded, and when that was reached.
final class Event: Sendable {
    struct Recording: Sendable {
        let position: StreamPosition
        let timestamp: Timestamp
    }

    let context: UInt64
    let flags: UInt32
    /// Of an event that processes share, instead of the last recording.
    let shared: SharedEvent?
    private let last = Mutex<Recording?>(nil)

    init(context: UInt64, flags: UInt32, shared: SharedEvent? = nil) {
        self.context = context
        self.flags = flags
        self.shared = shared
    }

    var hasTiming: Bool { flags & CU_EVENT_DISABLE_TIMING.rawValue == 0 }

    var recording: Recording? { last.withLock { $0 } }

    func record(_ recording: Recording) { last.withLock { $0 = recording } }
}

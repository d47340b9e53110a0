// SPDX-License-Identifier: Apache-2.0
// SAFETY of the preconcurrency import: C's `stdout` and `stderr` lock themselves and are never assigned here.
@preconcurrency import Glibc
import Synchronization

/// What kernels print, kept until the application waits for the device, as CUDA keeps it.
///
/// It leaves through C's `stdout`, so that it stays in order with what the application prints itself.
final class KernelOutput: Sendable {
    static let defaultBytes = 1 << 20

    private struct State {
        var limitBytes = KernelOutput.defaultBytes
        var bytes: [UInt8] = []
    }

    private let state = Mutex(State())

    /// CU_LIMIT_PRINTF_FIFO_SIZE.
    ///
    /// CUDA loses what is beyond; here it is printed earlier.
    var limitBytes: Int {
        get { state.withLock { $0.limitBytes } }
        set { state.withLock { $0.limitBytes = newValue } }
    }

    func append(_ text: [UInt8]) {
        let isFull = state.withLock { state in
            state.bytes += text
            return state.bytes.count > state.limitBytes
        }
        if isFull { flush() }
    }

    /// Prints what has gathered.
    func flush() {
        // Written with the lock held, so that two threads cannot exchange the order.
        state.withLock { state in
            guard !state.bytes.isEmpty else { return }
            fwrite(state.bytes, 1, state.bytes.count, stdout)
            fflush(stdout)
            state.bytes.removeAll()
        }
    }

    /// Writes a line to the standard error output at once.
    static func report(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        fwrite(bytes, 1, bytes.count, stderr)
    }
}

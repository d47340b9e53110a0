// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A connected stream socket on which each message is a line.
///
/// The descriptor is closed when the last owner lets go. SAFETY: the pointers passed to the system are those of arrays
/// that live during the call.
package final class LineConnection: @unchecked Sendable {
    package let descriptor: Int32
    private var received: [UInt8] = []

    package enum Failure: Error, Equatable {
        case closed
        case timedOut
        case tooLong(limit: Int)
        case system(Int32)
    }

    package init(adopting descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Sends a message and its end of line.
    package func send(line: [UInt8]) throws(Failure) {
        let bytes = line + [UInt8(ascii: "\n")]
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                guard let base = buffer.baseAddress else { return 0 }
                return unsafe Glibc.send(descriptor, base + sent, buffer.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw errno == EPIPE || errno == ECONNRESET ? .closed : .system(errno)
            }
            sent += count
        }
    }

    /// Receives the next line, without its end. `milliseconds` < 0 waits for ever.
    package func receiveLine(limit: Int, milliseconds: Int32) throws(Failure) -> [UInt8] {
        let deadline = milliseconds < 0 ? nil : monotonicMilliseconds() + Int64(milliseconds)
        while true {
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                guard end <= limit else { throw .tooLong(limit: limit) }
                let line = Array(received[..<end])
                received.removeSubrange(...end)
                return line
            }
            guard received.count <= limit else { throw .tooLong(limit: limit) }
            try waitReadable(deadline)
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = unsafe recv(descriptor, &chunk, chunk.count, 0)
            if count < 0 && errno == EINTR { continue }
            guard count != 0 else { throw .closed }
            guard count > 0 else { throw errno == ECONNRESET ? .closed : .system(errno) }
            received += chunk[..<count]
        }
    }

    private func waitReadable(_ deadline: Int64?) throws(Failure) {
        while true {
            let left = deadline.map { Int32(clamping: max(0, $0 - monotonicMilliseconds())) } ?? -1
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = unsafe poll(&entry, 1, left)
            if count > 0 { return }
            if count == 0 { throw .timedOut }
            guard errno == EINTR else { throw .system(errno) }
        }
    }
}

/// Monotonic time.
package func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

/// The text of an errno value.
package func errorText(_ code: Int32) -> String {
    unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import Threads

/// A connected stream socket on which each message is a line.
///
/// The descriptor is closed when the last owner lets go. SAFETY: the pointers passed to the system are those of arrays
/// that live during the call.
package final class LineConnection: @unchecked Sendable {
    package let descriptor: Int32
    /// What has arrived and nobody has taken.
    var received: [UInt8] = []

    package enum Failure: Error, Equatable {
        case closed
        case timedOut
        /// The other descriptor that was watched became readable.
        case woken
        case tooLong(limit: Int)
        case system(Int32)
    }

    package init(adopting descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// The numeric address of the other end; nil for a Unix socket, or when it is gone.
    package var peerAddress: String? {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let code = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard unsafe getpeername(descriptor, address, &length) == 0 else { return EAI_FAIL }
                return unsafe getnameinfo(address, length, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
            }
        }
        guard code == 0, address.ss_family != sa_family_t(AF_UNIX) else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

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

    /// Receives the next line, without its end.
    ///
    /// `milliseconds` < 0 waits for ever; the descriptor `wake` ends the wait.
    package func receiveLine(limit: Int, milliseconds: Int32, wake: Int32 = -1) throws(Failure) -> [UInt8] {
        let deadline = milliseconds < 0 ? nil : monotonicMilliseconds() + Int64(milliseconds)
        while true {
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                guard end <= limit else { throw .tooLong(limit: limit) }
                let line = Array(received[..<end])
                received.removeSubrange(...end)
                return line
            }
            guard received.count <= limit else { throw .tooLong(limit: limit) }
            try waitReadable(deadline, wake)
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = unsafe recv(descriptor, &chunk, chunk.count, 0)
            if count < 0 && errno == EINTR { continue }
            guard count != 0 else { throw .closed }
            guard count > 0 else { throw errno == ECONNRESET ? .closed : .system(errno) }
            received += chunk[..<count]
        }
    }

    /// A peer that has vanished without a word is noticed after 30 s, and one that reads nothing after `sendSeconds`.
    package func watchPeer(sendSeconds: Int) {
        var time = timeval(tv_sec: sendSeconds, tv_usec: 0)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 10)
        set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 5)
        set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 4)
        // The same when something has been sent and nothing confirms it.
        set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, 30_000)
    }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Ends both directions, which wakes whoever receives.
    package func shutDown() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Ends the conversation so that the last line sent is read: a socket that closes while something unread has
    /// arrived resets the connection.
    ///
    /// Waits at most so long for the peer to close too.
    package func finish(milliseconds: Int32) {
        shutdown(descriptor, Int32(SHUT_WR))
        let deadline = monotonicMilliseconds() + Int64(milliseconds)
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while (try? waitReadable(deadline, -1)) != nil {
            let count = unsafe recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 || (count < 0 && errno == EINTR) else { return }
        }
    }

    private func waitReadable(_ deadline: Int64?, _ wake: Int32) throws(Failure) {
        while true {
            let left = deadline.map { Int32(clamping: max(0, $0 - monotonicMilliseconds())) } ?? -1
            // poll() passes over an entry whose descriptor is negative.
            var entries = [
                pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
            ]
            let count = unsafe poll(&entries, nfds_t(entries.count), left)
            if count > 0 {
                if entries[0].revents != 0 { return }
                throw .woken
            }
            if count == 0 { throw .timedOut }
            guard errno == EINTR else { throw .system(errno) }
        }
    }
}

/// The text of an errno value.
package func errorText(_ code: Int32) -> String {
    unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
}

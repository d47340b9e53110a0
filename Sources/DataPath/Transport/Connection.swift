// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc
import Wire

/// A connected stream socket, or memory that both ends share with a socket beside it.
///
/// Closed exactly once, when the last owner lets go. At any time at most one thread reads and one writes.
///
/// SAFETY: every buffer that is passed is used only during the call.
package final class Connection: @unchecked Sendable {
    /// The socket on which this end sleeps.
    package let descriptor: Int32
    /// Where the bytes go instead, when both ends are on one machine.
    package let shared: SharedChannel?
    /// The connection by which the two ends found each other, kept open beside the memory.
    private let first: Connection?
    /// SAFETY: belongs to the thread that reads.
    private var spin = Spin()

    /// How long a read polls before it blocks.
    ///
    /// A wake-up across cores costs 20 to 25 us on a virtual machine, more than the answer of an idle worker takes.
    package static let spinNanoseconds: UInt64 = 50_000
    /// How long to wait for a server to accept or to answer the first message.
    package static let connectSecondsMax = 5

    /// A peer that has vanished without a word, with its machine or the network, is given up after so long; shorter
    /// interruptions are bridged.
    ///
    /// As long as a server lets an allocation live without a sign of its client.
    package static let silenceSecondsMax: Int32 = 30
    /// A connection on which nothing moves is tried after so long, and then so often.
    private static let probeAfterSeconds: Int32 = 10
    private static let probeEverySeconds: Int32 = 5

    /// Takes over a connected socket.
    package init(adopting descriptor: Int32) {
        self.descriptor = descriptor
        shared = nil
        first = nil
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        // Refused for Unix sockets, which have no delay to switch off and no network to lose.
        let tcp = Int32(IPPROTO_TCP)
        set(tcp, TCP_NODELAY, 1)
        set(tcp, TCP_KEEPIDLE, Connection.probeAfterSeconds)
        set(tcp, TCP_KEEPINTVL, Connection.probeEverySeconds)
        set(
            tcp, TCP_KEEPCNT,
            (Connection.silenceSecondsMax - Connection.probeAfterSeconds) / Connection.probeEverySeconds)
        // The same when something has been sent and nothing confirms it.
        set(tcp, TCP_USER_TIMEOUT, Connection.silenceSecondsMax * 1000)
    }

    /// Goes on through shared memory, with a Unix socket to sleep on.
    init(_ first: Connection, _ memory: SharedMemory, bell: Int32, _ side: SharedChannel.Side) {
        descriptor = bell
        shared = SharedChannel(memory, bell: bell, side)
        self.first = first
    }

    deinit { close(descriptor) }

    /// The bytes of a copy that travel in one frame.
    package var copyFrameBytes: Int { shared == nil ? Limits.copyFrameBytes : SharedChannel.copyFrameBytes }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        _ = setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    package static func connect(to endpoint: Endpoint) throws(ConnectionFailure) -> Connection {
        switch endpoint {
        case .unix(let path): try connect(unix: path)
        case .tcp(let host, let port): try connect(host: host, port: port)
        }
    }

    private static func connect(unix path: String) throws(ConnectionFailure) -> Connection {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { room in
            guard bytes.count < room.count else { return false }
            room.copyBytes(from: bytes)
            return true
        }
        guard fits else { throw ConnectionFailure("the socket path \(path) is too long") }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw ConnectionFailure("cannot make a socket: \(errorText(errno))") }
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else {
            let reason = errorText(errno)
            close(descriptor)
            throw ConnectionFailure("cannot connect to unix:\(path): \(reason)")
        }
        return Connection(adopting: descriptor)
    }

    private static func connect(host: String, port: UInt16) throws(ConnectionFailure) -> Connection {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, String(port), &hints, &list)
        guard code == 0 else {
            throw ConnectionFailure("cannot find the host \(host): \(String(cString: gai_strerror(code)))")
        }
        defer { freeaddrinfo(list) }
        var reason = "no address"
        var next = list
        while let entry = next {
            next = entry.pointee.ai_next
            let descriptor = socket(
                entry.pointee.ai_family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else {
                reason = errorText(errno)
                continue
            }
            // While it is set, this bounds connect() too.
            setSendTimeout(descriptor, seconds: connectSecondsMax)
            if Glibc.connect(descriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0 {
                setSendTimeout(descriptor, seconds: 0)
                return Connection(adopting: descriptor)
            }
            reason = errno == EINPROGRESS ? "no answer within \(connectSecondsMax) s" : errorText(errno)
            close(descriptor)
        }
        throw ConnectionFailure("cannot connect to \(Endpoint.tcp(host: host, port: port)): \(reason)")
    }

    private static func setSendTimeout(_ descriptor: Int32, seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        _ = setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Makes every read fail with EAGAIN after so long; 0 for no limit.
    package func setReadTimeout(seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        _ = setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Ends both directions, which wakes whoever reads or writes.
    package func shutDown() {
        _ = shutdown(descriptor, Int32(SHUT_RDWR))
        first?.shutDown()
    }

    /// Writes everything.
    ///
    /// False when the peer is gone; errno says why.
    package func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        write(bytes, UnsafeRawBufferPointer(start: nil, count: 0), whileBlocked: { false })
    }

    /// Writes two buffers, one behind the other, with as few system calls as possible.
    ///
    /// A peer that takes nothing for a while may be waiting for this side to read: then `whileBlocked` is asked to do
    /// that, and says whether it did.
    package func write(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, whileBlocked: () -> Bool
    ) -> Bool {
        if let shared { return shared.write(first, second, whileBlocked: whileBlocked) }
        var first = first
        var second = second
        while !first.isEmpty || !second.isEmpty {
            let count = send(first, second)
            if count < 0 {
                if errno == EAGAIN { _ = whileBlocked() } else if errno != EINTR { return false }
                continue
            }
            let ofFirst = min(count, first.count)
            first = UnsafeRawBufferPointer(rebasing: first[ofFirst...])
            second = UnsafeRawBufferPointer(rebasing: second[(count - ofFirst)...])
        }
        return true
    }

    private func send(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> Int {
        if second.isEmpty { return Glibc.send(descriptor, first.baseAddress, first.count, Int32(MSG_NOSIGNAL)) }
        return withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
            vectors[0] = iovec(iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress), iov_len: first.count)
            vectors[1] = iovec(iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress), iov_len: second.count)
            var message = msghdr()
            message.msg_iov = vectors.baseAddress
            message.msg_iovlen = 2
            return sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
        }
    }

    /// Bytes that have been written and the network has not taken yet.
    ///
    /// nil where that cannot be told, as in shared memory.
    package var queuedBytes: Int? {
        guard shared == nil else { return nil }
        let count = csystem_queued_bytes(descriptor)
        return count < 0 ? nil : count
    }

    /// Lets a write that the peer does not take call its `whileBlocked` about every so many milliseconds.
    package func setWriteTimeout(milliseconds: Int) {
        var time = timeval(tv_sec: 0, tv_usec: milliseconds * 1000)
        _ = setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Whether both ends are at one address, and so perhaps on one machine.
    package var isLocal: Bool {
        func text(_ name: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32) -> [UInt8]?
        {
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            return withUnsafeMutableBytes(of: &storage) { bytes in
                guard let address = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                    name(descriptor, address, &length) == 0
                else { return nil }
                switch Int32(address.pointee.sa_family) {
                case AF_UNIX: return []
                // The address without the port.
                case AF_INET: return Array(bytes[4..<8])
                case AF_INET6: return Array(bytes[8..<24])
                default: return nil
                }
            }
        }
        guard let own = text(getsockname), let peer = text(getpeername) else { return false }
        return own == peer
    }

    /// Reads what is there, at most the buffer: polls for a bounded time, then blocks.
    ///
    /// 0 at the end, negative on an error.
    package func read(into buffer: UnsafeMutableRawBufferPointer, spins: Bool) -> Int {
        if let shared { return shared.read(into: buffer) }
        if spins {
            let polled = spin.poll { () -> Int? in
                let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
                return count < 0 && (errno == EAGAIN || errno == EINTR) ? nil : count
            }
            if let polled { return polled }
        }
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count < 0 && errno == EINTR { continue }
            return count
        }
    }

    /// Reads what is there without waiting.
    ///
    /// nil when there is nothing, 0 at the end, negative on an error.
    package func readNow(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        if let shared { return shared.readNow(into: buffer) }
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
            if count >= 0 { return count }
            if errno == EINTR { continue }
            return errno == EAGAIN ? nil : count
        }
    }

    /// Whether a read would not wait.
    package var hasInput: Bool {
        if let shared { return shared.view?.isEmpty != true }
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) > 0
    }

    /// Waits a short time for something to read behind the `count` bytes that are there, or the end.
    package func waitReadable(beyond count: Int, nanoseconds: Int) {
        if let shared {
            shared.waitReadable(beyond: count, nanoseconds: nanoseconds)
        } else {
            csystem_wait_readable(descriptor, nanoseconds)
        }
    }

    /// Fills the buffer: polls for what comes soon, then blocks.
    ///
    /// False at the end, where errno is 0, or on an error.
    package func readExactly(_ buffer: UnsafeMutableRawBufferPointer) -> Bool {
        if let shared { return shared.readExactly(buffer) }
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            // A large rest takes longer than polling lasts, and is read with fewer calls by waiting for all of it.
            let isSmall = rest.count <= Connection.polledBytesMax
            let count = isSmall ? read(into: rest, spins: true) : readAll(rest)
            guard count > 0 else {
                if count == 0 { errno = 0 }
                return false
            }
            done += count
        }
        return true
    }

    /// The end of a block that is polled for instead of being waited for.
    private static let polledBytesMax = 128 << 10

    /// Waits until the buffer is full; less only when a signal came.
    private func readAll(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_WAITALL))
            if count >= 0 || errno != EINTR { return count }
        }
    }
}

/// The text of an errno value.
package func errorText(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
    return buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
}

/// Monotonic time.
package func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc
import Pool
import Threads

/// Why a port cannot be served, in words.
package struct ListenFailure: Error, Sendable, CustomStringConvertible {
    package let description: String
}

/// A listening TCP socket or Unix socket whose connections are served each on a thread of its own.
package final class Listener: @unchecked Sendable {
    /// Threads that serve connections of one listener at once.
    ///
    /// A client needs one, so this is a server's clients.
    package static let connectionsMax = 4096

    private let descriptor: Int32
    /// The port that was chosen; 0 for a Unix socket.
    package let port: Int
    private let open = Counter()

    /// Listens at a numeric or named address.
    ///
    /// Port 0 takes a free one.
    package init(address: String, port: Int) throws(ListenFailure) {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(address, String(port), &hints, &list)
        guard code == 0, let entry = list else {
            throw ListenFailure(description: "cannot listen at \(address): \(String(cString: gai_strerror(code)))")
        }
        defer { freeaddrinfo(list) }
        let descriptor = socket(
            entry.pointee.ai_family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw ListenFailure(description: "cannot make a socket: \(errorText(errno))") }
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        guard bind(descriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0,
            listen(descriptor, SOMAXCONN) == 0
        else {
            let reason = errorText(errno)
            close(descriptor)
            throw ListenFailure(
                description:
                    "cannot listen at \(address) port \(port): \(reason). Choose another port, or 0 for a free one")
        }
        self.descriptor = descriptor
        self.port = Listener.boundPort(descriptor)
    }

    /// Listens at a Unix socket that does not exist yet.
    package init(unix path: String) throws(ListenFailure) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { room in
            guard bytes.count < room.count else { return false }
            room.copyBytes(from: bytes)
            return true
        }
        guard fits else { throw ListenFailure(description: "the socket path \(path) is too long") }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard descriptor >= 0, bound == 0, listen(descriptor, SOMAXCONN) == 0 else {
            let reason = errorText(errno)
            if descriptor >= 0 { close(descriptor) }
            throw ListenFailure(description: "cannot listen at \(path): \(reason)")
        }
        self.descriptor = descriptor
        port = 0
    }

    deinit { close(descriptor) }

    private static func boundPort(_ descriptor: Int32) -> Int {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard code == 0 else { return 0 }
        return withUnsafePointer(to: &address) { pointer in
            // The port stands at the same place in IPv4 and IPv6 addresses.
            pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { Int(UInt16(bigEndian: $0.pointee.sin_port)) }
        }
    }

    /// Accepts for ever, on a thread of its own; each connection is served by `body`, which owns the descriptor.
    package func serve(_ body: @escaping @Sendable (Int32) -> Void) {
        startThread { [self] in
            while true {
                let connection = csystem_accept(descriptor)
                guard connection >= 0 else {
                    if errno == EBADF || errno == EINVAL { return }
                    // Out of descriptors or memory: those who are served will give some back.
                    if errno != EINTR && errno != ECONNABORTED { usleep(20_000) }
                    continue
                }
                guard open.increment(limit: Listener.connectionsMax) else {
                    close(connection)
                    continue
                }
                let isStarted = startThread { [self] in
                    body(connection)
                    open.decrement()
                }
                if !isStarted {
                    close(connection)
                    open.decrement()
                }
            }
        }
    }

    /// Accepts nothing more.
    package func stop() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}

extension ResourceScheduler {
    /// Serves the scheduler's protocol at a listener.
    package func serve(at listener: Listener) {
        let echoes = Counter()
        listener.serve { [self] descriptor in
            SchedulerConnection(scheduler: self, connection: LineConnection(adopting: descriptor), echoes: echoes)
                .serve()
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
package import Pool
import Synchronization

/// A connection to the resource scheduler of one server.
///
/// One thread receives; any may send or shut down.
package final class SchedulerClient: Sendable {
    /// Why a server did not answer, in words that name it.
    package struct Failure: Error, Sendable {
        package let message: String

        package init(message: String) { self.message = message }
    }

    /// How long a server may take to accept a connection, and to answer.
    package static let answerMilliseconds: Int32 = 4_000

    package let server: ServerAddress
    let connection: LineConnection
    private let reported = Mutex<[String]>([])

    /// Connects, from the address `source` of this machine when one is given.
    package init(
        _ server: ServerAddress, from source: String? = nil, connectMilliseconds: Int = Int(answerMilliseconds)
    ) throws(Failure) {
        self.server = server
        connection = LineConnection(adopting: try SchedulerClient.connect(server, source, connectMilliseconds))
        connection.watchPeer(sendSeconds: Int(SchedulerClient.answerMilliseconds) / 1000)
    }

    private static func connect(
        _ server: ServerAddress, _ source: String?, _ milliseconds: Int
    ) throws(Failure) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(server.host, String(server.port), &hints, &list)
        guard code == 0 else {
            throw Failure(message: "server \(server): the host is not known (\(String(cString: gai_strerror(code))))")
        }
        defer { freeaddrinfo(list) }
        var reason = "it has no address"
        var next = list
        while let entry = next {
            next = entry.pointee.ai_next
            let descriptor = socket(
                entry.pointee.ai_family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else {
                reason = errorText(errno)
                continue
            }
            // Bounds connect() too.
            var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
            setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
            if let source, !bind(descriptor, to: source) {
                reason = "this machine cannot use its address \(source): \(errorText(errno))"
                close(descriptor)
                continue
            }
            if Glibc.connect(descriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0 { return descriptor }
            reason = errno == EINPROGRESS ? "no answer in \(milliseconds / 1000) s" : errorText(errno)
            close(descriptor)
        }
        throw Failure(message: "server \(server) is not reached: \(reason). Is `bitfusion manager` running there?")
    }

    /// Gives a socket one of this machine's addresses.
    private static func bind(_ descriptor: Int32, to source: String) -> Bool {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICHOST
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(source, nil, &hints, &list) == 0, let entry = list else {
            errno = EADDRNOTAVAIL
            return false
        }
        defer { freeaddrinfo(list) }
        return Glibc.bind(descriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0
    }

    /// The numeric addresses of both ends.
    package var ends: (own: String, peer: String)? {
        guard let own = SchedulerClient.address(of: connection.descriptor, getsockname),
            let peer = SchedulerClient.address(of: connection.descriptor, getpeername)
        else { return nil }
        return (own, peer)
    }

    private static func address(
        of descriptor: Int32,
        _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> String? {
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                guard ask(descriptor, pointer, &length) == 0 else { return Int32(-1) }
                return getnameinfo(pointer, length, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
            }
        }
        guard code == 0 else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Ends both directions, which wakes whoever receives.
    package func shutDown() { connection.shutDown() }

    package func send(_ request: SchedulerRequest) throws(Failure) {
        do {
            try connection.send(line: Array(JSONEncoder().encode(request)))
        } catch {
            throw Failure(message: "server \(server) closed the connection")
        }
    }

    /// The next reply, or nil when the time is over; `milliseconds` < 0 waits for ever.
    package func receive(milliseconds: Int32 = answerMilliseconds) throws(Failure) -> SchedulerReply? {
        let line: [UInt8]
        do {
            line = try connection.receiveLine(limit: 1 << 20, milliseconds: milliseconds)
        } catch .timedOut {
            return nil
        } catch {
            throw Failure(message: "server \(server) closed the connection")
        }
        do {
            let reply = try JSONDecoder().decode(SchedulerReply.self, from: Data(line))
            if let servers = reply.servers { reported.withLock { $0 = servers } }
            return reply
        } catch {
            throw Failure(
                message: "server \(server) is not the scheduler of a bitfusion server: its answer is not understood")
        }
    }

    /// The next reply, or a failure when none comes in time.
    package func answer() throws(Failure) -> SchedulerReply {
        guard let reply = try receive() else {
            throw Failure(
                message: "server \(server) does not answer within \(SchedulerClient.answerMilliseconds / 1000) s")
        }
        return reply
    }

    /// The servers of the pool that the server has named, as it wrote them.
    package var reportedServers: [String] { reported.withLock { $0 } }

    /// What the server measures of itself.
    package func status() throws(Failure) -> ServerStatus {
        try send(SchedulerRequest(.status))
        let reply = try answer()
        guard reply.type == .status, let status = reply.status else {
            throw Failure(message: "server \(server): \(reply.message ?? "it does not tell its state")")
        }
        return status
    }

    /// A server that runs its health checks may take so long.
    private static let healthMilliseconds: Int32 = 15_000

    /// What the server's own checks find.
    package func health() throws(Failure) -> HealthReport {
        try send(SchedulerRequest(.health))
        guard let reply = try receive(milliseconds: SchedulerClient.healthMilliseconds) else {
            throw Failure(
                message: "server \(server) does not answer within \(SchedulerClient.healthMilliseconds / 1000) s")
        }
        guard reply.type == .health, let report = reply.health else {
            throw Failure(message: "server \(server): \(reply.message ?? "it does not tell its health")")
        }
        return report
    }

    /// What the server has.
    package func list() throws(Failure) -> SchedulerReply {
        try send(SchedulerRequest(.list))
        let reply = try answer()
        guard reply.type == .inventory else {
            throw Failure(message: "server \(server): \(reply.message ?? "it does not list its GPUs")")
        }
        return reply
    }
}

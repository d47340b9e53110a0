// SPDX-License-Identifier: Apache-2.0
import CSystem
import Driver
import Glibc
import Synchronization

/// Hands the file descriptors of what is exported to other workers of this machine, which run as the same user.
///
/// A handle says the name of the socket at which this process hands out, and a token; both are random numbers. The
/// socket has no file (its name is abstract, unix(7)) and is there from the first export on.
final class DescriptorExchange: Sendable {
    /// What is exported, by the driver's handle.
    enum Source: Hashable {
        case memory(UInt64)
        case pool(UInt64)
    }

    private struct Offer {
        let descriptor: Int32
        let token: Token
    }

    private struct Token: Hashable, BitwiseCopyable {
        let low: UInt64
        let high: UInt64

        static func random() -> Token {
            Token(low: UInt64.random(in: 0...UInt64.max), high: UInt64.random(in: 0...UInt64.max))
        }
    }

    private struct State {
        var name: Token?
        var offers: [Source: Offer] = [:]
    }

    /// "BFDESCR1".
    private static let magic: UInt64 = 0x3152_4353_4544_4642
    /// Exported memory and pools of one process: each costs it a descriptor.
    private static let offersMax = 512
    /// A process of this user that connects and says nothing must not stand in the way of others.
    private static let patienceSeconds = 2

    private let state = Mutex(State())

    /// The handle of what is exported, whose descriptor is asked for the first time.
    func offer(
        _ source: Source, _ export: () throws(CUDAError) -> Int32
    ) throws(CUDAError) -> ShareableHandle {
        try state.withLock { state throws(CUDAError) in
            if state.name == nil { state.name = try Self.startServer(self) }
            guard let name = state.name else { throw .notSupported }
            if state.offers[source] == nil {
                guard state.offers.count < Self.offersMax else { throw .outOfMemory }
                let descriptor = try export()
                state.offers[source] = Offer(descriptor: descriptor, token: .random())
            }
            guard let token = state.offers[source]?.token else { throw .notSupported }
            return ShareableHandle(words: (Self.magic, name.low, name.high, token.low, token.high, 0, 0, 0))
        }
    }

    /// Ends an offer; who has taken the descriptor keeps it.
    func withdraw(_ source: Source) {
        guard let offer = state.withLock({ $0.offers.removeValue(forKey: source) }) else { return }
        close(offer.descriptor)
    }

    // MARK: Handing out

    private static func startServer(_ exchange: DescriptorExchange) throws(CUDAError) -> Token {
        let name = Token.random()
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard listener >= 0 else { throw .outOfMemory }
        guard withAddress(name, { bind(listener, $0, $1) }) == 0, listen(listener, 16) == 0 else {
            close(listener)
            throw .outOfMemory
        }
        let server = Unmanaged.passRetained(Server(exchange, listener))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { server in
                guard let server else { return nil }
                Unmanaged<Server>.fromOpaque(server).takeRetainedValue().run()
                return nil
            }, server.toOpaque())
        guard status == 0 else {
            server.release()
            close(listener)
            throw .outOfMemory
        }
        pthread_detach(thread)
        return name
    }

    /// Lives as long as the process.
    private final class Server: Sendable {
        private let exchange: DescriptorExchange
        private let listener: Int32

        init(_ exchange: DescriptorExchange, _ listener: Int32) {
            self.exchange = exchange
            self.listener = listener
        }

        func run() {
            while true {
                let connection = csystem_accept(listener)
                guard connection >= 0 else {
                    usleep(10_000)
                    continue
                }
                if DescriptorExchange.isOfThisUser(connection) { exchange.serve(connection) }
                close(connection)
            }
        }
    }

    private func serve(_ connection: Int32) {
        Self.setPatience(connection)
        var token = Token(low: 0, high: 0)
        let count = MemoryLayout<Token>.size
        guard recv(connection, &token, count, Int32(MSG_WAITALL)) == count else { return }
        // A copy, so that an offer may end meanwhile.
        let descriptor = state.withLock { state -> Int32 in
            guard let offer = state.offers.values.first(where: { $0.token == token }) else { return -1 }
            return fcntl(offer.descriptor, F_DUPFD_CLOEXEC, 0)
        }
        guard descriptor >= 0 else { return }
        _ = csystem_send_descriptors(connection, [descriptor], 1, [1 as UInt8], 1)
        close(descriptor)
    }

    private static func isOfThisUser(_ connection: Int32) -> Bool {
        csystem_peer_user(connection) == Int(geteuid())
    }

    private static func setPatience(_ connection: Int32) {
        var time = timeval(tv_sec: patienceSeconds, tv_usec: 0)
        let length = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &time, length)
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &time, length)
    }

    // MARK: Taking

    /// The descriptor of another process; nil for a handle that is stale or none.
    static func take(_ handle: ShareableHandle) -> Int32? {
        guard handle[0] == magic else { return nil }
        let connection = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard connection >= 0 else { return nil }
        defer { close(connection) }
        setPatience(connection)
        let name = Token(low: handle[1], high: handle[2])
        guard withAddress(name, { connect(connection, $0, $1) }) == 0, isOfThisUser(connection) else { return nil }
        var token = Token(low: handle[3], high: handle[4])
        let count = MemoryLayout<Token>.size
        guard send(connection, &token, count, Int32(MSG_NOSIGNAL)) == count else { return nil }
        var descriptor: Int32 = -1
        var answer: UInt8 = 0
        guard csystem_receive_descriptors(connection, &descriptor, 1, &answer, 1) == 1, descriptor >= 0 else {
            return nil
        }
        return descriptor
    }

    /// The abstract address of a name: a zero, and then text.
    private static func withAddress(
        _ name: Token, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let text = Array("\0bitfusion-\(String(name.low, radix: 16))-\(String(name.high, radix: 16))".utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: text) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + text.count)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }
}

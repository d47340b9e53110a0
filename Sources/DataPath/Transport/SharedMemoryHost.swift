// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc
package import Wire

/// The worker's side of finding out whether the client is on this machine: memory, and a name that only processes of
/// this machine, in the same network namespace, can connect to.
///
/// Others can see the name, but do not know the key, which goes over the first connection.
///
/// SAFETY: used by one thread at a time.
package final class SharedMemoryHost: @unchecked Sendable {
    package let offer: SharedMemoryOffer
    private let memory: SharedMemory
    private let file: Int32
    private let listener: Int32

    /// A client has so long to choose.
    private static let choiceMilliseconds = 5_000
    /// Whoever connects has so long to show the key, which the client does at once.
    private static let keyMilliseconds = 100

    /// nil when the system refuses anything: then there is the first connection.
    package init?() {
        guard let (memory, file) = SharedMemory.make() else { return nil }
        let secret = (0..<3).map { _ in (0..<SharedMemoryOffer.secretByteCount).map { _ in UInt8.random(in: 0...255) } }
        let digits = secret[0].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        offer = SharedMemoryOffer(name: "bitfusion-" + digits, key: secret[1], proof: secret[2])
        self.memory = memory
        self.file = file
        listener = abstractSocket(offer.name) { bind($0, $1, $2) }
        guard listener >= 0, listen(listener, 4) == 0 else {
            close(file)
            if listener >= 0 { close(listener) }
            return nil
        }
    }

    deinit {
        close(file)
        close(listener)
    }

    /// Waits for the client's choice, and returns the connection on which it goes on; nil when there is none.
    package func settle(_ first: Connection) -> Connection? {
        var bell: Int32 = -1
        let deadline = nanoseconds() + UInt64(SharedMemoryHost.choiceMilliseconds) * 1_000_000
        var isChosen = false
        defer { if bell >= 0 && !isChosen { close(bell) } }
        while nanoseconds() < deadline {
            // Whoever has shown the key is the client.
            var entries = [
                pollfd(fd: first.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: bell < 0 ? listener : -1, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&entries, 2, Int32(SharedMemoryHost.choiceMilliseconds)) > 0 else { continue }
            if entries[1].revents != 0 { bell = welcome() }
            guard entries[0].revents != 0 else { continue }
            var byte: UInt8 = 0
            guard recv(first.descriptor, &byte, 1, 0) == 1, let choice = SharedMemoryOffer.Choice(rawValue: byte) else {
                return nil
            }
            switch choice {
            case .firstConnection: return first
            case .sharedMemory:
                guard bell >= 0 else { return nil }
                isChosen = true
                return Connection(first, memory, bell: bell, .worker)
            }
        }
        return nil
    }

    /// Gives the memory to whoever knows the key; negative for another.
    private func welcome() -> Int32 {
        let socket = csystem_accept(listener)
        guard socket >= 0 else { return -1 }
        setTimeout(socket, SO_RCVTIMEO, milliseconds: SharedMemoryHost.keyMilliseconds)
        var key = [UInt8](repeating: 0, count: SharedMemoryOffer.secretByteCount)
        let count = recv(socket, &key, key.count, Int32(MSG_WAITALL))
        guard count == key.count, zip(key, offer.key).reduce(0, { $0 | ($1.0 ^ $1.1) }) == 0,
            csystem_send_descriptors(socket, [file], 1, offer.proof, offer.proof.count) == 0
        else {
            close(socket)
            return -1
        }
        setTimeout(socket, SO_RCVTIMEO, milliseconds: 0)
        return socket
    }
}

extension Connection {
    /// Goes on through the memory that the worker offers, where it can be reached; tells the worker which way it goes.
    ///
    /// Throws when the worker has gone meanwhile.
    package static func settle(
        _ first: Connection, _ offer: SharedMemoryOffer
    ) throws(ConnectionFailure) -> Connection {
        let found = join(offer)
        var choice = (found == nil ? SharedMemoryOffer.Choice.firstConnection : .sharedMemory).rawValue
        let isTold = withUnsafeBytes(of: &choice) { first.write($0) }
        guard let (memory, bell) = found else { return first }
        guard isTold else {
            close(bell)
            throw ConnectionFailure("the worker ended before it could serve: \(errorText(errno))")
        }
        return Connection(first, memory, bell: bell, .client)
    }

    private static func join(_ offer: SharedMemoryOffer) -> (SharedMemory, bell: Int32)? {
        let socket = abstractSocket(offer.name) { Glibc.connect($0, $1, $2) }
        guard socket >= 0 else { return nil }
        setTimeout(socket, SO_RCVTIMEO, milliseconds: connectSecondsMax * 1000)
        var proof = [UInt8](repeating: 0, count: SharedMemoryOffer.secretByteCount)
        var file: Int32 = -1
        guard send(socket, offer.key, offer.key.count, Int32(MSG_NOSIGNAL)) == offer.key.count,
            csystem_receive_descriptors(socket, &file, 1, &proof, proof.count) == proof.count, file >= 0
        else {
            close(socket)
            return nil
        }
        defer { close(file) }
        guard proof == offer.proof, let memory = SharedMemory(file) else {
            close(socket)
            return nil
        }
        setTimeout(socket, SO_RCVTIMEO, milliseconds: 0)
        return (memory, socket)
    }
}

/// A Unix socket of this name, which is no file, after `use` has bound or connected it; negative when that fails.
private func abstractSocket(
    _ name: String, _ use: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
    let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { return -1 }
    // A name whose owner does not answer is as good as none.
    setTimeout(socket, SO_SNDTIMEO, milliseconds: 500)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = [0] + Array(name.utf8)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes.prefix($0.count)) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
    let code = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { use(socket, $0, length) }
    }
    if code == 0 { return socket }
    close(socket)
    return -1
}

private func setTimeout(_ socket: Int32, _ option: Int32, milliseconds: Int) {
    var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
    _ = setsockopt(socket, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
}

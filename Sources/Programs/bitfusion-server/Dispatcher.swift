// SPDX-License-Identifier: Apache-2.0
import Glibc
import Manager
import Synchronization
import Wire

/// Gives every application that connects a worker process of its own.
///
/// It reads the hello, checks the ticket, passes the socket to a worker and keeps nothing of it: from then on the worker
/// is the only one that holds the connection.
final class Dispatcher: Sendable {
    /// What a ticket is good for.
    struct Admission: Sendable {
        let allocation: Int
        let devices: [Int]
        let mebibytes: Int?
    }

    private struct State {
        /// The workers of each allocation.
        var workers: [Int: Set<pid_t>] = [:]
        /// Allocations that have ended: nothing may start in them any more.
        var isStopping = false
    }

    /// A client has so long to say hello.
    private static let helloSeconds = 5
    /// A worker that has to be started first has so long.
    private static let workerMilliseconds = 10_000
    /// After this a killed worker is believed to be gone.
    private static let endMilliseconds = 2_000

    private let state = Mutex(State())
    private let stock: WorkerStock
    private let admit: @Sendable ([UInt8]) -> Admission?

    /// - Parameter admit: Finds what a ticket is good for; nil when it is not known.
    init(driver: DriverChoice, admit: @escaping @Sendable ([UInt8]) -> Admission?) {
        self.admit = admit
        let ended = WorkerExits()
        stock = WorkerStock(driver: driver) { ended.report($0) }
        ended.handler.withLock { $0 = { [weak self] pid in self?.workerEnded(pid) } }
    }

    func serve(at listener: Listener) {
        stock.start()
        listener.serve { [self] descriptor in
            dispatch(descriptor)
            close(descriptor)
        }
    }

    private func dispatch(_ socket: Int32) {
        var time = timeval(tv_sec: Dispatcher.helloSeconds, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        guard let bytes = receiveHello(socket) else {
            return refuse(socket, .malformed, "this is the data port of a bitfusion server, for programs started by `bitfusion run`")
        }
        time.tv_sec = 0
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        let hello: Hello
        do {
            hello = try Hello(bytes: bytes)
        } catch {
            return refuse(socket, .malformed, "\(error)")
        }
        guard hello.major == Hello.major else {
            return refuse(
                socket, .wrongVersion,
                "the client speaks protocol version \(hello.major) and this server version \(Hello.major); install the same release on both")
        }
        guard let admission = admit(hello.ticket) else {
            return refuse(socket, .unknownTicket, "the ticket is not known here: the allocation has ended, or it is another server's")
        }
        guard let worker = stock.take(milliseconds: Dispatcher.workerMilliseconds) else {
            return refuse(socket, .noWorker, "no worker process could be started; the server's log tells why")
        }
        defer { close(worker.control) }
        let isRegistered = state.withLock { state in
            guard !state.isStopping else { return false }
            state.workers[admission.allocation, default: []].insert(worker.pid)
            return true
        }
        // The allocation may have ended meanwhile; whoever ends it kills the workers that are registered.
        guard isRegistered, admit(hello.ticket) != nil else {
            kill(worker.pid, SIGKILL)
            return refuse(socket, .unknownTicket, "the allocation has ended")
        }
        let assignment = WorkerAssignment(devices: admission.devices, mebibytes: admission.mebibytes, hello: bytes)
        if !assignment.send(socket, to: worker.control) {
            refuse(socket, .noWorker, "the worker process ended before it could serve")
        }
    }

    /// Reads the first 64 bytes; nil when they do not come in time, or begin with anything else.
    private func receiveHello(_ socket: Int32) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: Hello.byteCount)
        var received = 0
        while received < bytes.count {
            let count = bytes.withUnsafeMutableBytes { recv(socket, $0.baseAddress.map { $0 + received }, $0.count - received, 0) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return nil }
            received += count
            let magic = withUnsafeBytes(of: Hello.magic.littleEndian) { Array($0) }
            guard zip(bytes.prefix(min(received, 4)), magic).allSatisfy({ $0 == $1 }) else { return nil }
        }
        return bytes
    }

    private func refuse(_ socket: Int32, _ status: HelloReply.Status, _ sentence: String) {
        let bytes = HelloReply(refusal: status, sentence: sentence).bytes
        _ = bytes.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        // Reads away what the client still sends, so that closing does not reset the connection before it has read this.
        shutdown(socket, Int32(SHUT_WR))
        var time = timeval(tv_sec: 0, tv_usec: 200_000)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var rest = [UInt8](repeating: 0, count: 4096)
        for _ in 0..<64 where recv(socket, &rest, rest.count, 0) <= 0 { break }
    }

    /// Ends what runs in an allocation, and returns when it has ended.
    func end(allocation: Int) {
        let workers = state.withLock { $0.workers[allocation] ?? [] }
        for pid in workers { kill(pid, SIGKILL) }
        for _ in 0..<Dispatcher.endMilliseconds {
            guard state.withLock({ !($0.workers[allocation] ?? []).isEmpty }) else { return }
            usleep(1_000)
        }
    }

    private func workerEnded(_ pid: pid_t) {
        state.withLock { state in
            for allocation in state.workers.keys {
                state.workers[allocation]?.remove(pid)
                if state.workers[allocation]?.isEmpty ?? false { state.workers[allocation] = nil }
            }
        }
    }

    /// Ends every worker.
    func stop() {
        let allocations = state.withLock { state in
            state.isStopping = true
            return Array(state.workers.keys)
        }
        stock.stop()
        allocations.forEach(end)
    }
}

/// Passes the ends of workers on to a dispatcher that is made after its stock.
private final class WorkerExits: Sendable {
    let handler = Mutex<(@Sendable (pid_t) -> Void)?>(nil)

    func report(_ pid: pid_t) { handler.withLock { $0 }?(pid) }
}

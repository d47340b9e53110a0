// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import Glibc
import Manager
import Pool
import Scheduling
import Synchronization
import Threads
import Wire
import Worker

/// Gives every application that connects a worker process of its own.
///
/// It reads the hello, checks the ticket, passes the socket to a worker and keeps nothing of it: from then on the
/// worker is the only one that holds the connection.
final class Dispatcher: AllocationRunner {
    /// What a ticket is good for.
    struct Admission: Sendable {
        let allocation: Int
        let devices: [Int]
        let mebibytes: Int?
    }

    /// An allocation from its first worker on.
    private struct Running {
        let ledger: AllocationLedger
        /// By their slot in the ledger.
        var workers: [Int: WorkerProcess] = [:]
    }

    private struct State {
        var allocations: [Int: Running] = [:]
        /// Nothing may start any more.
        var isStopping = false
    }

    /// A client has so long to say hello.
    private static let helloMilliseconds: Int64 = 5_000
    /// A client that is refused has so long to read why.
    private static let farewellMilliseconds: Int64 = 500
    /// A worker that has to be started first has so long.
    private static let workerMilliseconds: Int64 = 20_000
    /// A killed worker that is not gone after this hangs in its driver, and nothing more can be done about it.
    private static let endMilliseconds: Int64 = 5_000

    private let state = Mutex(State())
    private let stock: WorkerStock
    private let cache = Mutex<CachePlace?>(nil)
    private let admit: @Sendable (Ticket) -> Admission?

    /// Starts nothing yet; `admit` finds what a ticket is good for, nil when it is not known.
    init(driver: DriverChoice, admit: @escaping @Sendable (Ticket) -> Admission?) {
        self.admit = admit
        stock = WorkerStock(driver: driver)
    }

    /// Tells workers that serve from now on where images of modules are kept; nil: nowhere.
    func keepImages(in place: CachePlace?) { cache.withLock { $0 = place } }

    func serve(at listener: Listener) {
        stock.start()
        listener.serve { [self] descriptor in
            dispatch(descriptor)
            close(descriptor)
        }
    }

    private func dispatch(_ socket: Int32) {
        guard let bytes = receiveHello(socket) else {
            return refuse(
                socket, .malformed,
                "this is the data port of a bitfusion server, for programs started by `bitfusion run`")
        }
        let hello: Hello
        do {
            hello = try Hello(bytes: bytes)
        } catch {
            return refuse(socket, .malformed, "\(error)")
        }
        guard hello.major == Hello.major else {
            return refuse(
                socket, .wrongVersion,
                "the client speaks protocol version \(hello.major) and this server version \(Hello.major); "
                    + "install the same release on both"
            )
        }
        guard let ticket = Ticket(bytes: hello.ticket), let admission = admit(ticket) else {
            return refuse(
                socket, .unknownTicket,
                "the ticket is not known here: the allocation has ended, or it is another server's")
        }
        guard let worker = stock.take(milliseconds: Dispatcher.workerMilliseconds) else {
            return refuse(socket, .noWorker, "no worker process could be started; the server's log tells why")
        }
        let place: Place
        do throws(Refusal) {
            place = try register(worker, in: admission)
        } catch {
            worker.kill()
            return refuse(socket, .noWorker, error.sentence)
        }
        // The allocation may have ended meanwhile; whoever ends it kills the workers that are registered.
        guard admit(ticket) != nil else {
            end(allocation: admission.allocation)
            return refuse(socket, .unknownTicket, "the allocation has ended")
        }
        let assignment = WorkerAssignment(
            devices: admission.devices, slot: place.slot, hello: bytes, cache: cache.withLock { $0 })
        if !assignment.send(socket, place.ledger, to: worker.control) {
            refuse(socket, .noWorker, "the worker process ended before it could serve")
        }
    }

    /// Where a worker counts what it uses.
    private struct Place {
        let ledger: AllocationLedger
        let slot: Int
    }

    private struct Refusal: Error {
        let sentence: String
    }

    /// Makes a worker part of an allocation, until it ends.
    private func register(_ worker: WorkerProcess, in admission: Admission) throws(Refusal) -> Place {
        let allocation = admission.allocation
        let place = try state.withLock { state throws(Refusal) in
            guard !state.isStopping else { throw Refusal(sentence: "the server is stopping") }
            if state.allocations[allocation] == nil {
                state.allocations[allocation] = Running(ledger: try Dispatcher.ledger(of: admission))
            }
            guard let running = state.allocations[allocation],
                let slot = (0..<AllocationLedger.slotsMax).first(where: { running.workers[$0] == nil })
            else {
                throw Refusal(
                    sentence:
                        "the allocation already has \(AllocationLedger.slotsMax) processes, the most that is allowed")
            }
            running.ledger.open(slot: slot)
            state.allocations[allocation]?.workers[slot] = worker
            return Place(ledger: running.ledger, slot: slot)
        }
        worker.whenEnded { [self] in unregister(worker, at: place, in: allocation) }
        return place
    }

    private static func ledger(of admission: Admission) throws(Refusal) -> AllocationLedger {
        do throws(LedgerFailure) {
            return try AllocationLedger(
                deviceCount: admission.devices.count, limitBytes: admission.mebibytes.map { $0 << 20 })
        } catch {
            throw Refusal(sentence: error.description)
        }
    }

    /// A worker has ended: what it used is free for the others of its allocation.
    private func unregister(_ worker: WorkerProcess, at place: Place, in allocation: Int) {
        state.withLock { state in
            guard state.allocations[allocation]?.workers[place.slot] === worker else { return }
            state.allocations[allocation]?.workers[place.slot] = nil
            place.ledger.clear(slot: place.slot)
        }
    }

    /// What the applications of an allocation do, for whoever ends allocations that do nothing.
    ///
    /// The counter changes whenever one of them makes a call.
    func activity(of allocation: Int) -> Leases.Activity {
        guard let activity = ledger(of: allocation)?.activity else {
            return Leases.Activity(counter: 0, isRunning: false)
        }
        return Leases.Activity(counter: activity.counter, isRunning: activity.isRunning)
    }

    /// What an allocation uses; nil before its first application and after its end.
    func ledger(of allocation: Int) -> AllocationLedger? { state.withLock { $0.allocations[allocation]?.ledger } }

    /// Reads the first 64 bytes; nil when they do not come in time, or begin with anything else.
    private func receiveHello(_ socket: Int32) -> [UInt8]? {
        let magic = withUnsafeBytes(of: Hello.magic.littleEndian) { Array($0) }
        let deadline = monotonicMilliseconds() + Dispatcher.helloMilliseconds
        var bytes: [UInt8] = []
        while bytes.count < Hello.byteCount {
            guard let part = receive(socket, atMost: Hello.byteCount - bytes.count, until: deadline) else { return nil }
            bytes += part
            guard zip(bytes, magic).allSatisfy({ $0 == $1 }) else { return nil }
        }
        return bytes
    }

    /// What has arrived; nil at the end of the connection, or of the time.
    private func receive(_ socket: Int32, atMost count: Int, until deadline: Int64) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        while true {
            var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            let ready = poll(&entry, 1, Int32(clamping: max(0, deadline - monotonicMilliseconds())))
            if ready < 0 && errno == EINTR { continue }
            guard ready > 0 else { return nil }
            let received = recv(socket, &bytes, count, Int32(MSG_DONTWAIT))
            if received < 0 && (errno == EINTR || errno == EAGAIN) { continue }
            return received > 0 ? Array(bytes[..<received]) : nil
        }
    }

    private func refuse(_ socket: Int32, _ status: HelloReply.Status, _ sentence: String) {
        let bytes = HelloReply(refusal: status, sentence: sentence).bytes
        _ = bytes.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        shutdown(socket, Int32(SHUT_WR))
        // Closing while something unread has arrived resets the connection, and the client loses the sentence.
        let deadline = monotonicMilliseconds() + Dispatcher.farewellMilliseconds
        while receive(socket, atMost: 64 << 10, until: deadline) != nil {}
    }

    /// Ends what runs in an allocation, and returns when it has ended.
    func end(allocation: Int) {
        let workers = state.withLock { $0.allocations.removeValue(forKey: allocation).map { Array($0.workers.values) } }
        guard let workers else { return }
        workers.forEach { $0.kill() }
        let deadline = monotonicMilliseconds() + Dispatcher.endMilliseconds
        for worker in workers where !worker.hasEnded(within: max(0, deadline - monotonicMilliseconds())) {
            writeError("bitfusion: worker \(worker.pid) does not end: its driver hangs\n")
        }
    }

    /// Ends every worker.
    func stop() {
        let allocations = state.withLock { state in
            state.isStopping = true
            return Array(state.allocations.keys)
        }
        stock.stop()
        allocations.forEach(end)
    }
}

// SPDX-License-Identifier: Apache-2.0
package import AllocationLedger
import CSystem
import Content
import Driver
import Glibc
package import HostDriver
import HostManagement
import ModuleCache
import PartitionedDriver
import Session
import Synchronization
import Transport
package import Wire

/// What a worker serves.
package struct WorkerConfiguration: Sendable {
    /// The libcuda.so.1 that it drives.
    package var driverPath: String
    /// The driver's numbers of the devices that the application may see, in its order.
    package var devices: [Int]
    /// Where what it uses is counted, and how much that may be.
    package var slot: LedgerSlot
    /// Where images of modules are kept; nil where they are not.
    package var cache: CachePlace?

    package init(driverPath: String, devices: [Int], slot: LedgerSlot, cache: CachePlace? = nil) {
        self.driverPath = driverPath
        self.devices = devices
        self.slot = slot
        self.cache = cache
    }
}

/// The process that serves one application: its context, its memory partition, its socket.
///
/// It ends with its application; whatever a kernel does to it, no other worker notices.
package enum Worker {
    private static let prepared = Mutex<(path: String, driver: HostDriver)?>(nil)

    /// Loads the driver ahead of the application.
    ///
    /// No context is made: on a real GPU one costs hundreds of MB.
    package static func prepare(driverPath: String) throws(DriverLoadFailure) {
        let driver = try HostDriver(path: driverPath)
        // Loaded now, so that no application waits for them.
        _ = ContentHasher.isAvailable
        _ = Zstandard.ofMachine
        prepared.withLock { $0 = (driverPath, driver) }
    }

    /// Serves an application on a connected socket whose hello has been read and accepted, until it is gone.
    ///
    /// Returns the exit status of the worker: 0 when the client closed the connection, 1 when it broke.
    package static func serve(connection descriptor: Int32, hello: Hello, configuration: WorkerConfiguration) -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        let connection = Connection(adopting: descriptor)
        let log = LogFile(copying: 2)
        do throws(DriverLoadFailure) {
            if prepared.withLock({ $0?.path != configuration.driverPath }) {
                try prepare(driverPath: configuration.driverPath)
            }
        } catch {
            refuse(connection, "the server's driver does not start: \(error.message)")
            return 1
        }
        guard let host = prepared.withLock({ $0?.driver }) else { return 1 }
        if hello.purpose == .management { return manage(connection, host, hello, configuration) }
        configuration.slot.setClient(processID: hello.processID, name: hello.programName)
        let driver = PartitionedDriver(host, devices: configuration.devices, slot: configuration.slot)
        let cache = configuration.cache.flatMap { place in
            openCache(place) { log.write("worker \(getpid()): \($0)\n") }
        }
        let sharing = hello.canShareMemory && connection.isLocal ? SharedMemoryHost() : nil
        do {
            var body = PayloadWriter()
            body.write(try driver.describe())
            var abilities: ImageAbilities = cache == nil ? [] : .keepsImages
            if Zstandard.ofMachine != nil { abilities.insert(.readsZstandard) }
            body.write(abilities.rawValue)
            if let sharing { body.write(sharing.offer) }
            let reply = HelloReply(status: .accepted, body: body.bytes).bytes
            guard reply.withUnsafeBytes({ connection.write($0) }) else { return 1 }
        } catch {
            refuse(connection, "the server's driver does not describe its GPUs (error \(error))")
            return 1
        }
        // A client that goes away without choosing is gone.
        guard let settled = sharing == nil ? connection : sharing?.settle(connection) else { return 0 }
        let session = Session(
            settled, driver: driver, slot: configuration.slot, cache: cache,
            standardOutput: CapturedOutput(of: 1), standardError: CapturedOutput(of: 2))
        let end = session.run()
        switch end {
        case .clientClosed: return 0
        case .connectionLost(let reason), .protocolBroken(let reason):
            log.write("worker \(getpid()) of client process \(hello.processID): \(reason)\n")
            return 1
        }
    }

    /// The cache, if it can be used.
    private static func openCache(
        _ place: CachePlace, report: @escaping (String) -> Void
    ) -> ModuleCache? {
        do throws(CacheFailure) { return try place.open(report: report) } catch {
            report("no module cache: \(error.description)")
            return nil
        }
    }

    static func refuse(_ connection: Connection, _ sentence: String) {
        _ = HelloReply(refusal: .noWorker, sentence: sentence).bytes.withUnsafeBytes { connection.write($0) }
    }
}

/// A copy of the process's standard error from before it was captured.
private final class LogFile {
    private let descriptor: Int32

    init(copying descriptor: Int32) { self.descriptor = fcntl(descriptor, F_DUPFD_CLOEXEC, 3) }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func write(_ text: String) {
        var text = text
        text.withUTF8 { _ = Glibc.write(descriptor, $0.baseAddress, $0.count) }
    }
}

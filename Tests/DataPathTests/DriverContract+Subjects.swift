// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import CSystem
import Driver
import Glibc
import ModuleCache
import PartitionedDriver
import ProgramImage
import RemoteDriver
import Session
import SoftGPU
import Synchronization
import Transport
import Wire

/// The software GPU behind each of the other drivers: the contracts must not notice.
extension DriverContract {
    static var overOtherDrivers: [Subject] {
        [
            Subject(name: "partition") {
                let ledger = try AllocationLedger(deviceCount: 2, limitBytes: 256 << 20)
                ledger.open(slot: 0)
                return PartitionedDriver(
                    try SoftGPU(SoftGPUConfiguration("2x256")), devices: [0, 1], slot: try LedgerSlot(ledger, number: 0)
                )
            },
            Subject(name: "remote over a socket pair") {
                try remoteDriver(of: SoftGPU(SoftGPUConfiguration("2x256")))
            },
            Subject(name: "remote whose images are kept") {
                let folder = try TemporaryFolder()
                keptFolders.withLock { $0.append(folder) }
                return try remoteDriver(of: SoftGPU(SoftGPUConfiguration("2x256")), cachePath: folder.path)
            },
            Subject(name: "remote through shared memory") {
                try remoteDriver(of: SoftGPU(SoftGPUConfiguration("2x256")), sharingMemory: true)
            },
        ] + (isSanitized ? [] : inWorkerProcesses)
    }

    /// The worker drives the software GPU's libcuda.so.1 through HostDriver.
    private static var inWorkerProcesses: [Subject] {
        [
            Subject(name: "remote over TCP to a worker process") { try workerDriver(softGPU: "2x256", .tcp) },
            Subject(name: "remote through shared memory to a worker process") {
                try workerDriver(softGPU: "2x256", .sharedMemory)
            },
        ]
    }

    /// Whether a sanitizer watches (`./check --sanitize`): libraries that are built with it cannot be opened.
    static var isSanitized: Bool { getenv("BITFUSION_SANITIZER") != nil }

    /// Folders of the subject whose images are kept: they go with the process.
    private static let keptFolders = Mutex<[TemporaryFolder]>([])

    struct Unavailable: Error, CustomStringConvertible {
        let description: String
    }

    /// A session on a thread of this process, and the remote driver at the other end of a socket pair, or of memory
    /// that the two find by it.
    ///
    /// With a path, images are kept there.
    static func remoteDriver(
        of driver: any Driver, sharingMemory: Bool = false, cachePath: String? = nil, mayBeKept: Bool = true
    ) throws -> RemoteDriver {
        let (client, server) = try connectionPair()
        let description = try driver.describe()
        guard sharingMemory else {
            startThread {
                let cache = cachePath.flatMap { try? ModuleCache(path: $0, bytesMax: 64 << 20) { _ in } }
                _ = Session(server, driver: driver, cache: cache).run()
            }
            let images = ImagePolicy(
                abilities: cachePath == nil ? [] : [.keepsImages, .readsZstandard],
                selection: CodeSelection(description, compilation: .asNeeded), mayBeKept: mayBeKept)
            return RemoteDriver(client, description, server: "this process", images: images)
        }
        guard let host = SharedMemoryHost() else { throw Unavailable(description: "no shared memory") }
        let offer = host.offer
        startThread {
            if let settled = host.settle(server) { _ = Session(settled, driver: driver).run() }
        }
        let settled = try Connection.settle(client, offer)
        guard settled.shared != nil else { throw Unavailable(description: "the memory is not shared") }
        return RemoteDriver(settled, description, server: "this process")
    }

    /// Both ends of a socket.
    static func connectionPair() throws -> (Connection, Connection) {
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw Unavailable(description: "no socket pair: \(errorText(errno))")
        }
        return (Connection(adopting: ends[0]), Connection(adopting: ends[1]))
    }

    /// A worker process of the build that is tested, reached over loopback TCP.
    static func workerDriver(softGPU: String, _ transport: TransportChoice) throws -> RemoteDriver {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 1) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard isBound else { throw Unavailable(description: "cannot listen: \(errorText(errno))") }
        let port = UInt16(bigEndian: address.sin_port)
        startThread { [listener = dup(listener)] in
            let accepted = accept(listener, nil, nil)
            close(listener)
            serve(accepted, softGPU: softGPU)
        }
        do throws(ConnectionFailure) {
            return try RemoteDriver.connect(
                to: .tcp(host: "127.0.0.1", port: port), ticket: [UInt8](repeating: 7, count: Hello.ticketByteCount),
                transport: transport)
        } catch {
            throw Unavailable(description: error.message)
        }
    }

    /// Does what the dispatcher does: reads the hello, starts a worker, and passes the socket on.
    private static func serve(_ socket: Int32, softGPU: String) {
        var hello = [UInt8](repeating: 0, count: Hello.byteCount)
        var ends: [Int32] = [0, 0]
        guard recv(socket, &hello, hello.count, Int32(MSG_WAITALL)) == hello.count,
            socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0
        else {
            close(socket)
            return
        }
        let folder = buildFolder
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 3)
        let words = [
            "\(folder)/bitfusion-server", "worker", "--control-fd", "3", "--driver", "\(folder)/libcuda-soft.so",
        ]
        let argv = words.map { strdup($0) } + [nil]
        let libraries = getenv("LD_LIBRARY_PATH").map { String(cString: $0) } ?? ""
        let variables = ["BITFUSION_SOFT_GPU=\(softGPU)", "LD_LIBRARY_PATH=\(libraries)"]
        let environment = variables.map { strdup($0) } + [nil]
        var pid = pid_t()
        posix_spawn(&pid, words[0], &actions, nil, argv, environment)
        posix_spawn_file_actions_destroy(&actions)
        for pointer in argv + environment { free(pointer) }
        close(ends[1])
        if let ledger = try? AllocationLedger(deviceCount: 2, limitBytes: 256 << 20) {
            ledger.open(slot: 0)
            let assignment = Array("{\"devices\":[0,1],\"slot\":0,\"hello\":\(hello)}".utf8)
            _ = csystem_send_descriptors(
                ends[0], [socket, ledger.descriptor], 2, assignment, assignment.count)
        }
        close(ends[0])
        close(socket)
        // A worker ends with the thread that started it.
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }

    /// Where the build has put its products: the folder of this test's own executable.
    static var buildFolder: String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let path = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    static func startThread(_ body: @escaping @Sendable () -> Void) {
        final class Body: Sendable {
            let run: @Sendable () -> Void
            init(_ run: @escaping @Sendable () -> Void) { self.run = run }
        }
        var thread = pthread_t()
        let retained = Unmanaged.passRetained(Body(body))
        let code = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run()
                return nil
            }, retained.toOpaque())
        if code == 0 { pthread_detach(thread) } else { retained.release() }
    }
}

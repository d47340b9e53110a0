// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import CSystem
import Driver
import Glibc
import RemoteDriver
import Transport
import Wire

/// Drivers in worker processes, as a server's dispatcher starts them.
extension DriverContract {
    /// What a worker process is started from.
    struct WorkerProgram: Sendable {
        /// The server's program.
        let path: String
        /// The libcuda.so.1 that the worker opens.
        let driverPath: String
        /// `BITFUSION_SOFT_GPU`, where the driver is the software GPU's.
        let softGPU: String?
        let deviceCount: Int
        /// The partition of each device.
        let limitBytes: Int
    }

    struct Unavailable: Error, CustomStringConvertible {
        let description: String
    }

    /// A worker process, reached over loopback TCP.
    static func remoteDriver(of worker: WorkerProgram, _ transport: TransportChoice) throws -> RemoteDriver {
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
            serve(accepted, worker)
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
    private static func serve(_ socket: Int32, _ worker: WorkerProgram) {
        var hello = [UInt8](repeating: 0, count: Hello.byteCount)
        var ends: [Int32] = [0, 0]
        guard recv(socket, &hello, hello.count, Int32(MSG_WAITALL)) == hello.count,
            socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0
        else {
            close(socket)
            return
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 3)
        let words = [
            worker.path, "worker", "--control-fd", "3", "--driver", worker.driverPath,
        ]
        let argv = words.map { strdup($0) } + [nil]
        let libraries = getenv("LD_LIBRARY_PATH").map { String(cString: $0) } ?? ""
        let softGPU = worker.softGPU.map { ["BITFUSION_SOFT_GPU=\($0)"] } ?? []
        let variables = softGPU + ["LD_LIBRARY_PATH=\(libraries)"]
        let environment = variables.map { strdup($0) } + [nil]
        var pid = pid_t()
        posix_spawn(&pid, words[0], &actions, nil, argv, environment)
        posix_spawn_file_actions_destroy(&actions)
        for pointer in argv + environment { free(pointer) }
        close(ends[1])
        if let ledger = try? AllocationLedger(deviceCount: worker.deviceCount, limitBytes: worker.limitBytes) {
            ledger.open(slot: 0)
            let devices = Array(0..<worker.deviceCount)
            let assignment = Array("{\"devices\":\(devices),\"slot\":0,\"hello\":\(hello)}".utf8)
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

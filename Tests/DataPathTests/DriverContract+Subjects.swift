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

/// The software GPU alone, and behind each of the other drivers: the contracts must not notice.
extension DriverContract {
    static let subjects: [Subject] = {
        let inProcess = [
            Subject(name: "software GPU") { try SoftGPU(SoftGPUConfiguration("2x256")) },
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
        ]
        return inProcess + (isSanitized ? [] : inWorkerProcesses)
    }()

    /// The worker drives the software GPU's libcuda.so.1 through HostDriver.
    private static var inWorkerProcesses: [Subject] {
        [
            Subject(name: "remote over TCP to a worker process") { try remoteDriver(of: softWorker, .tcp) },
            Subject(name: "remote through shared memory to a worker process") {
                try remoteDriver(of: softWorker, .sharedMemory)
            },
        ]
    }

    /// A worker of the build that is tested.
    static var softWorker: WorkerProgram {
        WorkerProgram(
            path: "\(buildFolder)/bitfusion-server", driverPath: "\(buildFolder)/libcuda-soft.so", softGPU: "2x256",
            deviceCount: 2, limitBytes: 256 << 20)
    }

    /// Whether a sanitizer watches (`./check --sanitize`): libraries that are built with it cannot be opened.
    static var isSanitized: Bool { getenv("BITFUSION_SANITIZER") != nil }

    /// Folders of the subject whose images are kept: they go with the process.
    private static let keptFolders = Mutex<[TemporaryFolder]>([])

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
}

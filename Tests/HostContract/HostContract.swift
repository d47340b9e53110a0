// SPDX-License-Identifier: Apache-2.0
import Driver
import Glibc
import HostDriver
import RemoteDriver
import Testing
import Transport

/// The contracts of Tests/DataPathTests with the driver of this machine.
///
/// For `scripts/gpu-check`:
///
///     driver-contract --driver FILE --server FILE [options of Swift Testing]
///
/// `--driver` is the libcuda.so.1 that is put to the test, `--server` the `bitfusion-server` whose workers open it.
/// The contracts run one after the other: they share the GPU, and those of failing kernels end their context.
@main
enum HostContract {
    static func main() async {
        guard (try? DriverContract.places.get()) != nil else {
            let usage = "usage: driver-contract --driver FILE --server FILE [options of Swift Testing]\n"
            _ = write(STDERR_FILENO, usage, usage.utf8.count)
            exit(64)
        }
        await Testing.__swiftPMEntryPoint() as Never
    }
}

extension DriverContract {
    /// Where the driver and the server's program are, as the command line says.
    struct Places {
        let driver: String
        let server: String
    }

    static let places: Result<Places, Unavailable> = {
        let words = CommandLine.arguments
        func value(of option: String) -> String? {
            words.firstIndex(of: option).flatMap { words.indices.contains($0 + 1) ? words[$0 + 1] : nil }
        }
        guard let driver = value(of: "--driver"), let server = value(of: "--server") else {
            return .failure(Unavailable(description: "no --driver and --server"))
        }
        return .success(Places(driver: driver, server: server))
    }()

    /// The driver in this process, and in workers over both transports.
    static let subjects: [Subject] = [
        Subject(name: "this machine's driver", checksHandles: false) { try HostDriver(path: places.get().driver) },
        Subject(name: "remote over TCP to a worker process") { try remoteDriver(of: worker(), .tcp) },
        Subject(name: "remote through shared memory to a worker process") {
            try remoteDriver(of: worker(), .sharedMemory)
        },
    ]

    /// A worker for all devices of the machine, and the whole of their memory.
    private static func worker() throws -> WorkerProgram {
        let places = try places.get()
        let devices = try describedDevices.get()
        return WorkerProgram(
            path: places.server, driverPath: places.driver,
            softGPU: getenv("BITFUSION_SOFT_GPU").map { String(cString: $0) }, deviceCount: devices.count,
            limitBytes: devices.map(\.totalBytes).min() ?? 0)
    }

    private static let describedDevices = Result { try HostDriver(path: places.get().driver).describe().devices }
}

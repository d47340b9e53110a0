// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CSystem
import FoundationEssentials
import Glibc
import HostDriver
import Wire
import Worker

/// One worker: waits for its application's socket, serves it, and ends.
struct WorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Serve one application; started by the dispatcher.", shouldDisplay: false)

    @Option(name: .customLong("control-fd"), help: "The Unix socket on which the application's socket arrives.")
    var controlDescriptor: Int32

    @Option(help: "The libcuda.so.1 to drive.")
    var driver: String

    func run() throws {
        // The dispatcher's thread that started this lives as long as the daemon.
        csystem_end_with_parent(SIGKILL)
        do {
            try Worker.prepare(driverPath: driver)
        } catch {
            writeError("bitfusion: a worker cannot start: \(error.message)\n")
            throw ExitCode(1)
        }
        WorkerAssignment.sayReady(controlDescriptor)
        guard let (socket, assignment) = WorkerAssignment.receive(controlDescriptor) else { return }
        close(controlDescriptor)
        let hello = try Hello(bytes: assignment.hello)
        let status = Worker.serve(
            connection: socket, hello: hello,
            configuration: WorkerConfiguration(
                driverPath: driver, devices: assignment.devices,
                memoryLimitBytes: assignment.mebibytes.map { UInt64($0) << 20 }))
        // The driver's exit handlers have nothing to save, and the kernel frees faster.
        _exit(status)
    }
}

/// What a dispatcher tells a worker with its application's socket.
struct WorkerAssignment: Codable {
    /// The driver's numbers of the GPUs.
    var devices: [Int]
    /// MiB on each; nil for all.
    var mebibytes: Int?
    /// The bytes that the application has sent first.
    var hello: [UInt8]

    private static let bytesMax = 64 << 10

    /// Passes a socket on.
    ///
    /// False when the worker is gone.
    func send(_ socket: Int32, to control: Int32) -> Bool {
        guard let bytes = try? JSONEncoder().encode(self) else { return false }
        return bytes.withUnsafeBytes { csystem_send_descriptor(control, socket, $0.baseAddress, $0.count) } == 0
    }

    /// Tells the dispatcher that the driver has started.
    static func sayReady(_ control: Int32) {
        var byte: UInt8 = 1
        _ = Glibc.send(control, &byte, 1, Int32(MSG_NOSIGNAL))
    }

    /// Waits for a socket; nil when the dispatcher has gone or changed its mind.
    static func receive(_ control: Int32) -> (socket: Int32, assignment: WorkerAssignment)? {
        var bytes = [UInt8](repeating: 0, count: bytesMax)
        var socket: Int32 = -1
        let count = csystem_receive_descriptor(control, &socket, &bytes, bytes.count)
        guard count > 0, socket >= 0,
            let assignment = try? JSONDecoder().decode(WorkerAssignment.self, from: Data(bytes[..<count]))
        else { return nil }
        return (socket, assignment)
    }
}

/// Writes to standard error, unbuffered.
func writeError(_ text: String) {
    var text = text
    text.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
}

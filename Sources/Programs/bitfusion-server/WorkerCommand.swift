// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
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
        guard let received = WorkerAssignment.receive(controlDescriptor) else { return }
        close(controlDescriptor)
        let hello = try Hello(bytes: received.assignment.hello)
        let slot: LedgerSlot
        do throws(LedgerFailure) {
            slot = try LedgerSlot(
                AllocationLedger(adopting: received.ledgerDescriptor), number: received.assignment.slot)
        } catch {
            writeError("bitfusion: a worker cannot serve: \(error)\n")
            throw ExitCode(1)
        }
        let status = Worker.serve(
            connection: received.socket, hello: hello,
            configuration: WorkerConfiguration(
                driverPath: driver, devices: received.assignment.devices, slot: slot,
                cache: received.assignment.cache))
        // The driver's exit handlers have nothing to save, and the kernel frees faster.
        _exit(status)
    }
}

/// What a dispatcher tells a worker with its application's socket and the allocation's ledger.
struct WorkerAssignment: Codable {
    /// The driver's numbers of the GPUs.
    var devices: [Int]
    /// The worker's place in the ledger.
    var slot: Int
    /// The bytes that the application has sent first.
    var hello: [UInt8]
    /// Where images of modules are kept; nil where they are not.
    var cache: CachePlace?

    private static let bytesMax = 64 << 10

    /// Passes a socket and a ledger on.
    ///
    /// False when the worker is gone.
    func send(_ socket: Int32, _ ledger: AllocationLedger, to control: Int32) -> Bool {
        guard let bytes = try? JSONEncoder().encode(self) else { return false }
        let descriptors = [socket, ledger.descriptor]
        return bytes.withUnsafeBytes {
            csystem_send_descriptors(control, descriptors, descriptors.count, $0.baseAddress, $0.count)
        } == 0
    }

    /// Tells the dispatcher that the driver has started.
    static func sayReady(_ control: Int32) {
        var byte: UInt8 = 1
        _ = Glibc.send(control, &byte, 1, Int32(MSG_NOSIGNAL))
    }

    /// An assignment and what came with it.
    struct Received {
        var assignment: WorkerAssignment
        var socket: Int32
        var ledgerDescriptor: Int32
    }

    /// Waits for an assignment; nil when the dispatcher has gone or changed its mind.
    static func receive(_ control: Int32) -> Received? {
        var bytes = [UInt8](repeating: 0, count: bytesMax)
        var descriptors: [Int32] = [-1, -1]
        let count = csystem_receive_descriptors(control, &descriptors, descriptors.count, &bytes, bytes.count)
        guard count > 0, descriptors.allSatisfy({ $0 >= 0 }),
            let assignment = try? JSONDecoder().decode(WorkerAssignment.self, from: Data(bytes[..<count]))
        else { return nil }
        return Received(assignment: assignment, socket: descriptors[0], ledgerDescriptor: descriptors[1])
    }
}

/// Writes to standard error, unbuffered.
func writeError(_ text: String) {
    var text = text
    text.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
}

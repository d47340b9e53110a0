// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import Manager
import Pool

/// The other half of `bitfusion local`: a dispatcher at a Unix socket with one allocation that has everything.
///
/// Prints a line with the ticket when it listens, and ends when its control pipe closes: with its parent, whatever
/// happens to that.
struct LocalDispatcherCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dispatch-local", abstract: "Serve one private program; started by `bitfusion local`.",
        shouldDisplay: false)

    @Option(help: "The Unix socket to make.")
    var socket: String

    @Option(name: .customLong("soft-gpu"), help: "Software GPUs, as 1x4096.")
    var softGPU: String?

    @Option(help: "The libcuda.so.1 to drive.")
    var driver: String?

    @Option(name: .customLong("control-fd"), help: "A pipe that closes when the program has ended.")
    var controlDescriptor: Int32

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        // Signals to the program's group are the program's; this ends after it.
        setsid()
        defer { removeSocket() }
        let choice = try DriverChoice(driver: driver, softGPU: softGPU)
        let inventory: Inventory
        let listener: Listener
        do {
            inventory = try choice.inventory()
            listener = try Listener(unix: socket)
        } catch {
            writeError("bitfusion: \(error)\n")
            throw ExitCode(69)
        }
        let ticket = Ticket()
        let everything = Dispatcher.Admission(
            allocation: 1, devices: inventory.gpus.map(\.index), mebibytes: choice.wholeMebibytes(inventory))
        let dispatcher = Dispatcher(driver: choice) { $0.matches(ticket) ? everything : nil }
        dispatcher.serve(at: listener)
        print(ticket.hexadecimal)
        fflush(nil)
        var byte: UInt8 = 0
        while read(controlDescriptor, &byte, 1) < 0 && errno == EINTR {}
        listener.stop()
        dispatcher.stop()
    }

    /// Removes the socket and the private folder around it, also when `bitfusion local` was killed.
    private func removeSocket() {
        unlink(socket)
        if let end = socket.lastIndex(of: "/") { rmdir(String(socket[..<end])) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import Health
import Pool

/// Runs a server's health checks in a process of its own, and prints what they find as JSON.
struct LocalHealthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "localhealth", abstract: "Print the server's health as JSON.")

    /// How long the driver may take to say what it has.
    private static let inventoryMilliseconds: Int64 = 2_000

    @Option(name: .customLong("data-dir"), help: "The folder of the daemon's files.")
    var dataFolder: String

    func run() throws {
        guard access(dataFolder, R_OK | X_OK) == 0 else {
            let code = errno
            writeError(
                "bitfusion: cannot read the data folder \(dataFolder): \(String(cString: strerror(code))); name the daemon's with --data-dir "
                    + "and run this as its user, or run the checks of a client with --client\n")
            throw ExitCode(code == EACCES ? 77 : 78)
        }
        let description = try? ManagerDescription(in: dataFolder)
        let choice = try DriverChoice(driver: description?.driver, softGPU: description?.softGPU)
        let inventory: Result<Inventory, SourceFailure>
        do {
            inventory = .success(try choice.inventory(milliseconds: LocalHealthCommand.inventoryMilliseconds))
        } catch {
            inventory = .failure(SourceFailure("\(error)"))
        }
        let node = ServerNode(
            choice: choice, inventory: inventory, dataFolder: dataFolder, daemon: isRunning ? description?.pid : nil)
        guard let report = ServerHealth(node).report() else { throw ExitCode(1) }
        print(String(decoding: try JSONEncoder().encode(report), as: UTF8.self))
    }

    /// Whether a daemon has locked the folder: a process number alone may be another's by now.
    private var isRunning: Bool {
        let descriptor = open(dataFolder + "/manager.lock", O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_EX | LOCK_NB) != 0
    }
}

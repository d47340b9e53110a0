// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc

/// A failure of our own: one line on standard error, and an exit status that tells it from the application's.
struct Failure: Error {
    /// The statuses, as in sysexits.h.
    enum Status: Int32 {
        case usage = 64
        case data = 65
        case noInput = 66
        case noServer = 69
        case cannotCreate = 73
        case noGPUs = 75
        case notAllowed = 77
        case configuration = 78
        /// As a shell says it.
        case notExecutable = 126
        case notFound = 127
    }

    let status: Status
    let message: String

    init(_ status: Status, _ message: String) {
        self.status = status
        self.message = message
    }

    /// Prints the line and gives the status to the argument parser.
    func report() -> ExitCode {
        printError("bitfusion: \(message)")
        return ExitCode(status.rawValue)
    }
}

/// Writes a line to standard error, unbuffered.
func printError(_ line: String) {
    var text = line + "\n"
    text.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
}

/// Runs a command's body and reports its failure.
func reporting(_ body: () throws -> Void) throws {
    do { try body() } catch let failure as Failure {
        throw failure.report()
    } catch let reported as Reported {
        throw ExitCode(reported.status)
    }
}

/// A failure that a process of ours has reported.
struct Reported: Error {
    let status: Int32
}

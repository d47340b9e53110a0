// SPDX-License-Identifier: Apache-2.0
package import Driver
import Glibc

/// What `bitfusion_make_driver` returns: the driver that the exports stand on, and where its memory is.
package final class DriverSource: Sendable {
    package let driver: any Driver & AnyObject
    /// Whether device memory is outside this process, so that its addresses must be kept free of host memory here.
    package let hasRemoteMemory: Bool

    package init(_ driver: any Driver & AnyObject, hasRemoteMemory: Bool) {
        self.driver = driver
        self.hasRemoteMemory = hasRemoteMemory
    }
}

/// Tells the user why there is no driver: one line on standard error, since standard output belongs to the program.
package func reportFailure(_ message: String) {
    // Nobody is left to hear that this line could not be written.
    var line = Array("bitfusion: \(message)\n".utf8)[...]
    while !line.isEmpty {
        let written = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        if written <= 0 { break }
        line = line.dropFirst(written)
    }
}

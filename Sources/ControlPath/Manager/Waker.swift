// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc

/// Wakes a thread that waits in poll(): a pipe whose reading end becomes readable.
final class Waker: Sendable {
    let descriptor: Int32
    private let writingEnd: Int32

    /// Fails when the process has no descriptors left.
    init?() {
        var ends: [Int32] = [0, 0]
        guard csystem_pipe(&ends) == 0 else { return nil }
        (descriptor, writingEnd) = (ends[0], ends[1])
        // A full pipe has woken its reader already.
        for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
    }

    deinit {
        close(descriptor)
        close(writingEnd)
    }

    func wake() {
        var byte: UInt8 = 1
        _ = write(writingEnd, &byte, 1)
    }

    /// Takes all wake-ups so far.
    func rest() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(descriptor, &bytes, bytes.count) > 0 {}
    }
}

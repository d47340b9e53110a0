// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc
import Session

/// What this process writes to its standard output or error: a driver prints there for kernels, and the text belongs to
/// the application's own output.
///
/// The descriptor is pointed at a file in memory, which never blocks the writer; what has been taken is given back.
final class CapturedOutput: OutputSource {
    private let file: Int32
    private var taken = 0

    /// Takes over a standard descriptor.
    ///
    /// Without memory for the file nothing is captured.
    init(of descriptor: Int32) {
        file = csystem_memory_file("kernel output")
        guard file >= 0 else { return }
        csystem_flush_standard_streams()
        dup2(file, descriptor)
    }

    deinit { if file >= 0 { close(file) } }

    func takeOutput() -> [UInt8] {
        guard file >= 0 else { return [] }
        csystem_flush_standard_streams()
        let end = lseek(file, 0, SEEK_CUR)
        guard end > taken else { return [] }
        let count = min(end - taken, CapturedOutput.takenBytesMax)
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = max(0, pread(file, buffer.baseAddress, count, taken))
        }
        // Frees the pages without moving the writer's place in the file.
        csystem_punch_hole(file, taken, bytes.count)
        taken += bytes.count
        return bytes
    }

    /// The most that is sent ahead of one answer.
    private static let takenBytesMax = 4 << 20
}

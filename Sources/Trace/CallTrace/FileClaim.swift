// SPDX-License-Identifier: Apache-2.0
import Glibc
import TraceFormat

/// What became of the attempt to have a file for this process's trace.
enum FileClaim {
    /// Open for appending, with a header.
    case owned(Int32)
    /// Another process of this run writes it, or has written it.
    case taken
    /// Something else lies there, which nobody asked us to overwrite.
    case notATrace
    case failed(Int32)

    init(_ path: String) {
        let descriptor = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0o600)
        guard descriptor >= 0 else {
            self = .failed(errno)
            return
        }
        self = FileClaim.claim(descriptor)
        if case .owned = self { return }
        close(descriptor)
    }

    private static func claim(_ descriptor: Int32) -> FileClaim {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return .failed(errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { return .notATrace }
        let isLocked = flock(descriptor, LOCK_EX | LOCK_NB) == 0
        let (byteCount, found) = FileClaim.header(of: descriptor)
        guard isLocked else {
            // The other library of this process holds the lock, or another process does.
            return found?.processID == UInt32(getpid()) ? .owned(descriptor) : .taken
        }
        let header = currentHeader()
        if let found, found.run == header.run {
            // The file of the program that this one was executed in place of.
            if found.processID == header.processID { return .owned(descriptor) }
            if header.run != 0 { return .taken }
        }
        guard found != nil || byteCount == 0 else { return .notATrace }
        guard ftruncate(descriptor, 0) == 0 else { return .failed(errno) }
        let bytes = header.bytes
        let isWritten = withoutFileSizeSignal {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 && count < bytes.count { errno = ENOSPC }
            return count == bytes.count
        }
        return isWritten ? .owned(descriptor) : .failed(errno)
    }

    /// The file's size, up to that of a header, and its header if it has one.
    private static func header(of descriptor: Int32) -> (Int, TraceHeader?) {
        var bytes = [UInt8](repeating: 0, count: TraceFormat.headerByteCount)
        let count = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
        return (max(count, 0), count == bytes.count ? TraceHeader(bytes) : nil)
    }

    private static func currentHeader() -> TraceHeader {
        var real = timespec()
        var monotonic = timespec()
        clock_gettime(CLOCK_REALTIME, &real)
        clock_gettime(CLOCK_MONOTONIC, &monotonic)
        var name = [CChar](repeating: 0, count: 17)
        // PR_GET_NAME is the main thread's name only on that thread; the file in /proc is the process's.
        if let file = fopen("/proc/self/comm", "re") {
            _ = fgets(&name, Int32(name.count), file)
            fclose(file)
        }
        return TraceHeader(
            processID: UInt32(getpid()), run: runNumber(), realNanoseconds: nanoseconds(real),
            monotonicNanoseconds: nanoseconds(monotonic),
            programName: String(decoding: name.prefix { $0 > 31 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    /// A number that the processes of an allocation have in common, and from which its ticket cannot be told.
    private static func runNumber() -> UInt64 {
        guard let ticket = getenv("BITFUSION_TICKET") else { return 0 }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        var place = ticket
        while place.pointee != 0 {
            hash = (hash ^ UInt64(UInt8(bitPattern: place.pointee))) &* 0x100_0000_01B3
            place += 1
        }
        return max(hash, 1)
    }

    private static func nanoseconds(_ time: timespec) -> UInt64 {
        UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCallTrace
import Glibc
import TraceFormat

/// The file that BITFUSION_TRACE names, opened at the first block.
///
/// The first process of a run takes the file itself, with a lock as long as it lives; a process that finds it taken,
/// or is a forked child, adds its number to the name. Both libraries of a process append to one file, as does a program
/// that the process executes in its place. Whatever goes wrong ends the trace with one line on standard error, and
/// never the program.
final class TraceFile: @unchecked Sendable {
    private enum State {
        case unopened
        case open(descriptor: Int32, device: UInt64, inode: UInt64)
        case ended
    }

    private let lock = RecorderLock()
    // Read and written with `lock`.
    private var state = State.unopened
    private var isForked = false

    /// Appends a block, at once, so that blocks of other threads and libraries do not come between.
    func write(_ header: TraceBlockHeader, _ payload: UnsafeRawBufferPointer) {
        lock.lock()
        defer { lock.unlock() }
        if case .unopened = state { open() }
        guard case .open(let descriptor, let device, let inode) = state else { return }
        // Programs that become daemons close every descriptor, and the number may be another file's by now.
        guard let found = identity(of: descriptor), found == (device, inode) else {
            return end("the program has closed the call trace's file; the trace ends here")
        }
        let bytes = header.bytes
        guard append(bytes, payload, to: descriptor) else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            return end("the call trace cannot be written: \(reason); the trace ends here")
        }
    }

    /// Gives up the parent's file; the child's own is opened when there is something to write.
    func forgetInForkedChild() {
        lock.reset()
        isForked = true
        if case .open(let descriptor, _, _) = state { close(descriptor) }
        if case .ended = state { return }
        state = .unopened
    }

    private func end(_ message: String) {
        state = .ended
        calltrace_turn_off()
        var line = "bitfusion: \(message)\n"
        // Nobody is left to hear that this line could not be written.
        line.withUTF8 { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    private func open() {
        guard let pattern = getenv(CALLTRACE_VARIABLE).map({ String(cString: $0) }), !pattern.isEmpty else {
            return end("the variable BITFUSION_TRACE is gone; nothing is recorded")
        }
        var path = expand(pattern)
        if isForked && path == pattern { path += ".\(getpid())" }
        var claim = FileClaim(path)
        if case .taken = claim { claim = FileClaim("\(path).\(getpid())") }
        switch claim {
        case .owned(let descriptor):
            guard let (device, inode) = identity(of: descriptor) else { return }
            state = .open(descriptor: descriptor, device: device, inode: inode)
        case .taken: end("the call trace \(path) is another process's; nothing is recorded")
        case .notATrace: end("\(path) is not a call trace and is not overwritten; nothing is recorded")
        case .failed(let code):
            end("the call trace \(path) cannot be written: \(String(cString: strerror(code))); nothing is recorded")
        }
    }

    /// The name with the process's number in place of `%p`.
    private func expand(_ pattern: String) -> String {
        var text = ""
        var rest = pattern[...]
        while let character = rest.popFirst() {
            if character == "%", rest.first == "p" {
                rest.removeFirst()
                text += "\(getpid())"
            } else {
                text.append(character)
            }
        }
        return text
    }

    private func identity(of descriptor: Int32) -> (UInt64, UInt64)? {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? (UInt64(status.st_dev), UInt64(status.st_ino)) : nil
    }

    /// Writes both at once; false, with errno, when that fails.
    private func append(_ header: [UInt8], _ payload: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
        header.withUnsafeBytes { header in
            withoutFileSizeSignal {
                var parts = [
                    iovec(
                        iov_base: UnsafeMutableRawPointer(mutating: header.baseAddress), iov_len: header.count),
                    iovec(
                        iov_base: UnsafeMutableRawPointer(mutating: payload.baseAddress), iov_len: payload.count),
                ]
                while true {
                    let count = writev(descriptor, &parts, 2)
                    if count == header.count + payload.count { return true }
                    if count < 0 && errno == EINTR { continue }
                    // A part is all that had place; the reader knows a block that is cut off.
                    if count >= 0 { errno = ENOSPC }
                    return false
                }
            }
        }
    }
}

/// Runs `body` so that a file that may not grow is an error (EFBIG) and not the end of the process.
func withoutFileSizeSignal(_ body: () -> Bool) -> Bool {
    var signals = sigset_t()
    var old = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGXFSZ)
    pthread_sigmask(SIG_BLOCK, &signals, &old)
    let isDone = body()
    let code = errno
    if !isDone && code == EFBIG {
        var now = timespec(tv_sec: 0, tv_nsec: 0)
        sigtimedwait(&signals, nil, &now)
    }
    pthread_sigmask(SIG_SETMASK, &old, nil)
    errno = code
    return isDone
}

// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Blocks of bytes, once lines have agreed on them: a length of 4 bytes, little-endian, and so many bytes.
extension LineConnection {
    /// Bytes of the length before a block.
    package static let blockHeaderBytes = 4

    /// From now on each wait for the peer takes at most so long, and small blocks are sent at once.
    package func beginBlocks(milliseconds: Int) {
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var one: Int32 = 1
        unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Receives a block with its header into `buffer`, which grows when it is too small.
    ///
    /// Returns the bytes received, header included.
    package func receiveBlock(into buffer: inout [UInt8], limit: Int) throws(Failure) -> Int {
        let header = LineConnection.blockHeaderBytes
        grow(&buffer, to: header)
        try receive(into: &buffer, 0..<header)
        let length = (0..<header).reduce(0) { $0 | Int(buffer[$1]) << (8 * $1) }
        guard length <= limit else { throw .tooLong(limit: limit) }
        grow(&buffer, to: header + length)
        try receive(into: &buffer, header..<header + length)
        return header + length
    }

    /// Sends the first bytes of a buffer.
    package func send(_ buffer: [UInt8], count: Int) throws(Failure) {
        var sent = 0
        while sent < count {
            let part = unsafe buffer.withUnsafeBytes { bytes in
                guard let base = bytes.baseAddress else { return 0 }
                // SAFETY: the caller's count is within the buffer, or this slice traps.
                return unsafe Glibc.send(descriptor, base + sent, bytes[sent..<count].count, Int32(MSG_NOSIGNAL))
            }
            if part < 0 && errno == EINTR { continue }
            guard part >= 0 else { throw failure() }
            sent += part
        }
    }

    private func receive(into buffer: inout [UInt8], _ range: Range<Int>) throws(Failure) {
        var next = range.lowerBound
        // What came together with the last line.
        let early = received.prefix(range.count)
        if !early.isEmpty {
            buffer.replaceSubrange(next..<next + early.count, with: early)
            next += early.count
            received.removeFirst(early.count)
        }
        while next < range.upperBound {
            let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress else { return 0 }
                // SAFETY: the range is within the buffer, or this slice traps.
                let room = unsafe bytes[next..<range.upperBound].count
                return unsafe recv(descriptor, base + next, room, Int32(MSG_WAITALL))
            }
            if count < 0 && errno == EINTR { continue }
            guard count != 0 else { throw .closed }
            guard count > 0 else { throw failure() }
            next += count
        }
    }

    private func grow(_ buffer: inout [UInt8], to count: Int) {
        if buffer.count < count { buffer += [UInt8](repeating: 0, count: count - buffer.count) }
    }

    private func failure() -> Failure {
        switch errno {
        case EAGAIN: .timedOut
        case EPIPE, ECONNRESET: .closed
        default: .system(errno)
        }
    }
}

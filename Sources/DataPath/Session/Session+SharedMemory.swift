// SPDX-License-Identifier: Apache-2.0
import Glibc
import Transport
import Wire

// Frames that lie in memory that the client can change at any time. All but the bytes of copies are moved to memory of
// the session's own before they are looked at.

extension Session {
    /// From this size on a copy's bytes go to the driver from where the client has put them.
    private static let inPlaceBytesMin = 4 << 10

    /// Moves the frames that are complete into ``input``, up to a copy whose bytes stay where they are; performs that
    /// one when it is the first.
    func takeFrames(_ shared: SharedChannel) throws {
        incompleteBytes = 0
        // A frame that is too large for the ring is being gathered.
        guard isBetweenFrames else { return }
        guard let view = shared.view, let base = view.baseAddress else { throw ConnectionFailure(errorText(errno)) }
        var offset = 0
        while view.count - offset >= FrameHeader.byteCount {
            let header = FrameHeader(at: base + offset)
            let frame = FrameHeader.byteCount + Int(header.payloadByteCount)
            if isPerformedInPlace(header, frame) {
                if offset > 0 { break }
                guard view.count >= frame else { break }
                // A copy's address and stream are read once, and what becomes of its bytes is the client's matter.
                let payload = UnsafeRawBufferPointer(rebasing: view[FrameHeader.byteCount..<frame])
                try performNext(header, payload)
                return shared.consume(frame)
            }
            if offset + frame > min(view.count, input.count) { break }
            offset += frame
        }
        if offset == 0, view.count >= FrameHeader.byteCount,
            FrameHeader.byteCount + Int(FrameHeader(at: base).payloadByteCount) > SharedChannel.wholeFrameBytesMax
        {
            offset = min(view.count, input.count)
        }
        guard offset > 0 else {
            incompleteBytes = view.count
            return
        }
        shared.take(offset, to: input.baseAddress)
        inputStart = 0
        inputEnd = offset
    }

    /// Whether what comes next is the beginning of a frame, and nothing of it has been taken.
    var isBetweenFrames: Bool { inputStart == inputEnd && incomingCopy == nil }

    private func isPerformedInPlace(_ header: FrameHeader, _ frame: Int) -> Bool {
        header.call == Call.cuMemcpyHtoDAsync_v2.rawValue && header.flags.isEmpty
            && (Self.inPlaceBytesMin...SharedChannel.wholeFrameBytesMax).contains(frame)
    }

    /// Bytes that the frame in ``input`` lacks.
    var missingBytes: Int {
        let present = inputEnd - inputStart
        guard present >= FrameHeader.byteCount, let base = input.baseAddress else {
            return FrameHeader.byteCount - present
        }
        return max(1, FrameHeader.byteCount + Int(FrameHeader(at: base + inputStart).payloadByteCount) - present)
    }
}

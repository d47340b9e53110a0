// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Wire

/// A copy to the device whose frame has not arrived completely.
struct IncomingCopy {
    let frame: FrameHeader
    let stream: UInt64
    var target: CUdeviceptr
    /// Bytes that have not been performed.
    var restByteCount: Int

    /// Bytes that are given to the driver at once: few enough to stay in a core's second-level cache between the socket
    /// and the driver, enough that a call of the driver moves much.
    static let pieceBytes = 256 << 10

    /// Bytes that are worth waiting for, beside those that are there.
    func wantedBytes(_ present: Int) -> Int { max(1, min(restByteCount, IncomingCopy.pieceBytes) - present) }

    /// Whether so many bytes are worth a call of the driver.
    func isWorthACall(_ present: Int) -> Bool { present >= min(restByteCount, IncomingCopy.pieceBytes) }
}

// Large copies to the device are performed in pieces as they arrive, from the beginning of the input.

extension Session {
    /// Begins the copy whose header and arguments have arrived; false when the frame is none, or small.
    func beginCopy(_ header: FrameHeader) throws(WireError) -> Bool {
        let arguments = 2 * MemoryLayout<UInt64>.size
        let start = inputStart + FrameHeader.byteCount
        guard header.call == Call.cuMemcpyHtoDAsync_v2.rawValue, header.flags.isEmpty,
            Int(header.payloadByteCount) >= arguments + IncomingCopy.pieceBytes, inputEnd - start >= arguments,
            let base = input.baseAddress
        else { return false }
        try count(header)
        incomingCopy = IncomingCopy(
            frame: header, stream: UInt64(littleEndian: (base + start + 8).loadUnaligned(as: UInt64.self)),
            target: CUdeviceptr(littleEndian: (base + start).loadUnaligned(as: CUdeviceptr.self)),
            restByteCount: Int(header.payloadByteCount) - arguments)
        inputStart = start + arguments
        moveInput(to: input)
        return true
    }

    /// Performs the next piece; false when too little of it is there.
    func continueCopy() -> Bool {
        guard let copy = incomingCopy, copy.isWorthACall(inputEnd - inputStart) else { return false }
        let count = min(copy.restByteCount, inputEnd - inputStart)
        let piece = UnsafeRawBufferPointer(rebasing: input[inputStart..<inputStart + count])
        do throws(CUDAError) {
            try driver.cuMemcpyHtoDAsync_v2(
                contexts.driverHandle(copy.frame.context), dstDevice: copy.target,
                srcHost: RawSpan(_unsafeBytes: piece), hStream: streams.driverHandle(copy.stream))
        } catch {
            if deferredError == nil { deferredError = error }
        }
        inputStart += count
        incomingCopy?.target += CUdeviceptr(count)
        incomingCopy?.restByteCount -= count
        if copy.restByteCount == count { incomingCopy = nil }
        if inputStart == inputEnd {
            inputStart = 0
            inputEnd = 0
        }
        return true
    }
}

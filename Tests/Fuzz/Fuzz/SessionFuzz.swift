// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Session
import SoftGPU
import Transport
import Wire

/// A session on a software GPU, with a client that sends what the fuzzer makes up.
///
/// The bytes are read as a short program that writes frames: most of them have the right form and small handles, so that
/// calls reach the driver; some have not. Afterwards nothing may be left: the session frees what its client made.
func fuzzSession(_ bytes: [UInt8]) -> Int32 {
    let gpu = FuzzedGPU.shared
    var program = FrameProgram(bytes, address: gpu.address)
    let frames = program.frames()
    guard !frames.isEmpty else { return 0 }
    var ends: [Int32] = [0, 0]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
        fatalError("no socket pair: \(errorText(errno))")
    }
    var room = Int32(4 << 20)
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, socklen_t(MemoryLayout<Int32>.size))
    let session = Session(Connection(adopting: ends[1]), driver: gpu.driver)
    let drain = Drain(ends[0])
    // All of it fits into the socket's buffer: the session finds everything there, and then the end.
    let sent = send(ends[0], frames, frames.count, Int32(MSG_NOSIGNAL))
    precondition(sent == frames.count, "the frames fit the socket's buffer")
    shutdown(ends[0], Int32(SHUT_WR))
    _ = session.run()
    drain.finish()
    close(ends[0])
    return 0
}

/// The driver of all runs, with a block of memory whose address calls may use.
private final class FuzzedGPU {
    // SAFETY: libFuzzer runs one input after the other, on one thread.
    nonisolated(unsafe) static let shared = FuzzedGPU()

    let driver: SoftGPU
    let address: UInt64

    private init() {
        do {
            driver = try SoftGPU(SoftGPUConfiguration("2x64"))
            let context = try driver.cuDevicePrimaryCtxRetain(dev: 0)
            address = try driver.cuMemAlloc_v2(context, bytesize: 1 << 20)
        } catch { fatalError("no software GPU: \(error)") }
    }
}

/// Reads and forgets what a session answers, on a thread of its own.
private final class Drain: @unchecked Sendable {
    private let descriptor: Int32
    private var thread = pthread_t()

    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        let code = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                // SAFETY: balances the retain below.
                let drain = Unmanaged<Drain>.fromOpaque(pointer).takeRetainedValue()
                var buffer = [UInt8](repeating: 0, count: 64 << 10)
                while recv(drain.descriptor, &buffer, buffer.count, 0) > 0 {}
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        precondition(code == 0, "the system has a thread left")
    }

    /// Waits until the session has closed its end, or closes it.
    func finish() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        pthread_join(thread, nil)
    }
}

/// Turns bytes into frames.
private struct FrameProgram {
    private static let framesMax = 200
    private static let framesBytesMax = 256 << 10
    private static let image = Array(
        """
        .version 7.0
        .target sm_70
        .address_size 64
        .visible .global .align 4 .b8 place[16];
        .visible .entry k(.param .u64 p) { ret; }
        """.utf8)

    private var rest: ArraySlice<UInt8>
    private let address: UInt64

    init(_ bytes: [UInt8], address: UInt64) {
        rest = bytes[...]
        self.address = address
    }

    private mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func frames() -> [UInt8] {
        var frames: [UInt8] = []
        var sequence: UInt64 = 1
        for _ in 0..<FrameProgram.framesMax {
            guard !rest.isEmpty, frames.count < FrameProgram.framesBytesMax else { break }
            let call = UInt16(byte())
            let form = byte()
            // Of 16 frames one is raw bytes, as of a peer that speaks another protocol.
            if form >= 0xF0 {
                frames += take(Int(byte()))
                continue
            }
            let context = UInt64(byte() % 4)
            // Of the loads most have steps in their order, as chance hardly puts them.
            let isLoad = call == Call.cuModuleLoadDataEx.rawValue && form & 0x40 == 0
            let payload = isLoad ? imageStep(form >> 1) : payload(items: Int(form >> 1) % 16)
            var header = [UInt8](repeating: 0, count: FrameHeader.byteCount)
            header.withUnsafeMutableBytes { start in
                guard let start = start.baseAddress else { return }
                FrameHeader(
                    payloadByteCount: UInt32(payload.count), call: call, flags: form & 1 == 1 ? .wantsReply : [],
                    sequence: sequence, context: context
                ).store(at: start)
            }
            sequence += 1
            frames += header + payload
        }
        return frames
    }

    /// One step of loading an image, right or nearly so.
    private mutating func imageStep(_ choice: UInt8) -> [UInt8] {
        var payload = PayloadWriter()
        payload.write(UInt64(byte() % 4))
        let step = ImageStep(rawValue: choice % 4) ?? .whole
        payload.write(step.rawValue)
        guard step == .part else {
            payload.write(ImageRequest(mayBeKept: choice & 4 == 0, options: []))
            switch step {
            case .whole: FrameProgram.image.forEach { payload.write($0) }
            case .known:
                let hash = take(imageHashByteCount)
                payload.write(
                    imageOf: Int(byte()), hash: hash + [UInt8](repeating: 0, count: imageHashByteCount - hash.count))
            case .part, .assembled: break
            }
            return payload.bytes
        }
        let half = FrameProgram.image.count / 2
        let isFirst = choice & 4 == 0
        let part = isFirst ? FrameProgram.image[..<half] : FrameProgram.image[half...]
        payload.write(UInt64(FrameProgram.image.count + Int(byte() & 1)))
        payload.write(byte() & 1)
        payload.write(UInt32(part.count))
        part.forEach { payload.write($0) }
        return payload.bytes
    }

    private mutating func payload(items: Int) -> [UInt8] {
        var payload = PayloadWriter()
        for _ in 0..<items {
            switch byte() % 8 {
            case 0: payload.write(UInt64(byte() % 16))
            case 1: payload.write(UInt32(byte()))
            case 2: payload.write(address + UInt64(byte()) << 12)
            case 3: payload.write(UInt64(byte()) << (UInt64(byte()) % 64))
            case 4: payload.write(text: String(decoding: take(Int(byte() % 32)), as: UTF8.self))
            case 5: take(Int(byte())).forEach { payload.write($0) }
            case 6: FrameProgram.image.forEach { payload.write($0) }
            default: payload.write(UInt64(0))
            }
        }
        return payload.bytes
    }

    private mutating func take(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
}

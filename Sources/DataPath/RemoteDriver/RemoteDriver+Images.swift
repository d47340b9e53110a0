// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Content
package import Driver
package import ProgramImage
import Synchronization
import Transport
package import Wire

/// What is done with the images of modules on their way: which part of them, named or sent, and how.
package struct ImagePolicy: Sendable {
    /// What the server can do.
    package var abilities: ImageAbilities
    /// Which of a fat binary's entries are worth sending.
    package var selection: CodeSelection
    /// Whether the application lets its images be kept on the server: not with CUDA_CACHE_DISABLE=1.
    package var mayBeKept: Bool

    package init(abilities: ImageAbilities, selection: CodeSelection, mayBeKept: Bool) {
        self.abilities = abilities
        self.selection = selection
        self.mayBeKept = mayBeKept
    }
}

extension RemoteDriver {
    package func cuModuleLoadDataEx(
        _ context: ContextHandle, image: RawSpan, options: [JITOption], log: inout JITLog
    ) throws(CUDAError) -> ModuleHandle {
        try image.withUnsafeBytes { bytes throws(CUDAError) in
            try refuseWhatNeedsCompilation(bytes, &log)
            let image = try SelectedImage(bytes, images.selection, log: &log)
            guard image.byteCount <= Limits.imageBytesMax else { throw .invalidImage }
            let load = ImageLoad(
                made: newHandle(), context: context,
                request: ImageRequest(mayBeKept: images.mayBeKept, options: options))
            if let module = try loadKnown(image, load, &log) { return module }
            return try send(image, load, &log)
        }
    }

    /// One call of `cuModuleLoadDataEx` on its way.
    private struct ImageLoad {
        let made: UInt64
        let context: ContextHandle
        let request: ImageRequest
    }

    /// With CUDA_DISABLE_PTX_JIT text is refused, as by NVIDIA's driver.
    private func refuseWhatNeedsCompilation(_ image: UnsafeRawBufferPointer, _ log: inout JITLog) throws(CUDAError) {
        // Cubins begin with 7f, fat binaries with 50.
        guard images.selection.compilation == .never, let first = image.first, first != 0x7f, first != 0x50 else {
            return
        }
        log.error += "The image is PTX, and CUDA_DISABLE_PTX_JIT forbids to compile it.\n"
        throw CUDAError(CUDA_ERROR_JIT_COMPILATION_DISABLED)
    }

    /// Loads an image that the server has; nil when it has it not, or to send it is faster than to ask.
    ///
    /// Through shared memory an image is there sooner than both ends have computed what it would be named by.
    private func loadKnown(
        _ image: SelectedImage, _ load: ImageLoad, _ log: inout JITLog
    ) throws(CUDAError) -> ModuleHandle? {
        guard images.abilities.contains(.keepsImages), load.request.mayBeKept, !isSharingMemory,
            image.byteCount >= Limits.keptImageBytesMin, var hasher = ContentHasher()
        else { return nil }
        image.forEachPiece { hasher.update($0) }
        let hash = hasher.finish()
        return try finish(load, &log, .known) { $0.write(imageOf: image.byteCount, hash: hash.bytes) }
    }

    /// Sends an image: with the call when it is small, else in parts before it.
    private func send(
        _ image: SelectedImage, _ load: ImageLoad, _ log: inout JITLog
    ) throws(CUDAError) -> ModuleHandle {
        let isSmall = image.byteCount <= Limits.keptImageBytesMin
        let sent =
            if isSmall {
                try finish(load, &log, .whole) { payload in
                    image.forEachPiece { piece in piece.forEach { payload.write($0) } }
                }
            } else {
                // The server puts one image together at a time.
                try imageBeingSent.withLock { _ throws(CUDAError) in
                    try sendParts(of: image, load)
                    return try finish(load, &log, .assembled) { _ in }
                }
            }
        // The server has what it was just sent.
        guard let sent else { throw .unknown }
        return sent
    }

    /// The call itself; nil when the server says that the image is missing.
    private func finish(
        _ load: ImageLoad, _ log: inout JITLog, _ step: ImageStep, _ rest: (inout PayloadWriter) -> Void
    ) throws(CUDAError) -> ModuleHandle? {
        var payload = PayloadWriter()
        payload.write(load.made)
        payload.write(step.rawValue)
        payload.write(load.request)
        rest(&payload)
        let (status, reply) = try payload.bytes.span.bytes.withUnsafeBytes { block throws(CUDAError) in
            try callWithBlock(.cuModuleLoadDataEx, load.context, byteCount: 0, block: block) { _ in }
        }
        // The failure of an earlier call has no values.
        if reply.isEmpty { try check(status) }
        let found = try reply.decode { reader throws(WireError) -> JITLog? in
            guard try reader.read(UInt8.self) == ImageAnswer.found.rawValue else { return nil }
            return try reader.readJITLog()
        }
        guard let found else { return nil }
        log = found
        try check(status)
        return ModuleHandle(bits: load.made)
    }

    private func sendParts(of image: SelectedImage, _ load: ImageLoad) throws(CUDAError) {
        let sender = ImageSender(self, context: load.context, made: load.made, byteCount: image.byteCount)
        try image.forEachPiece { piece throws(CUDAError) in
            var rest = piece
            while !rest.isEmpty {
                let part = UnsafeRawBufferPointer(rebasing: rest.prefix(copyFrameBytes))
                try sender.send(part)
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(part.count))
            }
        }
    }
}

/// Sends the parts of one image, compressed where the network then has them sooner.
private final class ImageSender {
    private let driver: RemoteDriver
    private let context: ContextHandle
    private let made: UInt64
    private let byteCount: Int
    private let zstandard: Zstandard?
    private var choice = CompressionChoice()
    /// Room for one compressed part; smaller than a part, for nothing else is a gain.
    private var room = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var lastLook = nanoseconds()
    private var lastQueued = 0

    init(_ driver: RemoteDriver, context: ContextHandle, made: UInt64, byteCount: Int) {
        self.driver = driver
        self.context = context
        self.made = made
        self.byteCount = byteCount
        let canCompress = driver.images.abilities.contains(.readsZstandard) && driver.queuedBytes != nil
        zstandard = canCompress ? Zstandard.ofMachine : nil
    }

    deinit { room.deallocate() }

    func send(_ part: UnsafeRawBufferPointer) throws(CUDAError) {
        let compressed = zstandard.flatMap { choice.compressesNext ? compress(part, $0) : nil }
        try post(compressed ?? part, compressed == nil ? .plain : .zstd, plainBytes: part.count)
        look(sent: (compressed ?? part).count)
    }

    private func compress(_ part: UnsafeRawBufferPointer, _ zstandard: Zstandard) -> UnsafeRawBufferPointer? {
        if room.isEmpty { room = .allocate(byteCount: driver.copyFrameBytes, alignment: 16) }
        let start = nanoseconds()
        let target = UnsafeMutableRawBufferPointer(rebasing: room[..<(part.count - part.count / 16)])
        let count = zstandard.compress(part, into: target)
        choice.compressed(bytes: part.count, to: count ?? part.count, seconds: Double(nanoseconds() - start) / 1e9)
        return count.map { UnsafeRawBufferPointer(rebasing: room[..<$0]) }
    }

    private func post(
        _ block: UnsafeRawBufferPointer, _ encoding: ImageEncoding, plainBytes: Int
    ) throws(CUDAError) {
        var payload = PayloadWriter()
        payload.write(made)
        payload.write(ImageStep.part.rawValue)
        payload.write(partOf: byteCount, encoding, byteCount: plainBytes)
        let bytes = payload.bytes
        try driver.post(
            .cuModuleLoadDataEx, context, byteCount: bytes.count, block: RawSpan(_unsafeBytes: block)
        ) { frame in
            bytes.withUnsafeBytes { frame.write(bytes: $0) }
        }
    }

    /// Looks how much the network has taken.
    private func look(sent count: Int) {
        guard zstandard != nil, let queued = driver.queuedBytes else { return }
        let now = nanoseconds()
        choice.network(
            took: max(0, lastQueued + count - queued), seconds: Double(now - lastLook) / 1e9, left: queued)
        (lastLook, lastQueued) = (now, queued)
    }
}

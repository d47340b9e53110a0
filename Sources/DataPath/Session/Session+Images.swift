// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Content
import Driver
import Glibc
import ModuleCache
import Wire

/// An image of which parts have arrived.
final class IncomingImage {
    /// The client's number of the module that it will be.
    let module: UInt64
    /// Room for all of it.
    ///
    /// The kernel gives pages when they are written: a length that is only announced costs none.
    let bytes: UnsafeMutableRawBufferPointer
    private(set) var arrivedCount = 0

    /// Room for an image, or `outOfMemory`: its length is the client's word.
    init(module: UInt64, byteCount: Int) throws(CUDAError) {
        self.module = module
        guard let room = malloc(max(1, byteCount)) else { throw .outOfMemory }
        bytes = UnsafeMutableRawBufferPointer(start: room, count: byteCount)
    }

    deinit { Glibc.free(bytes.baseAddress) }

    var isComplete: Bool { arrivedCount == bytes.count }

    /// Takes the next part, which has so many bytes when it is decoded.
    func append(_ part: UnsafeRawBufferPointer, _ encoding: ImageEncoding, byteCount: Int) throws(WireError) {
        guard byteCount <= Limits.imagePartBytesMax else {
            throw .tooLong(byteCount, limit: Limits.imagePartBytesMax)
        }
        guard byteCount > 0, byteCount <= bytes.count - arrivedCount else { throw .malformedImage }
        let target = UnsafeMutableRawBufferPointer(rebasing: bytes[arrivedCount..<arrivedCount + byteCount])
        switch encoding {
        case .plain:
            guard part.count == byteCount else { throw .malformedImage }
            target.copyMemory(from: part)
        case .zstd:
            guard Zstandard.ofMachine?.decompress(part, into: target) == true else { throw .malformedImage }
        }
        arrivedCount += byteCount
    }
}

// Images of modules, and where they come from: with the call, in parts before it, or from the server's cache.

extension Session {
    func perform_cuModuleLoadDataEx(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let made = try request.read(UInt64.self)
        guard let step = ImageStep(rawValue: try request.read(UInt8.self)) else { throw WireError.malformedImage }
        if step == .part { return try takePart(of: made, &request) }
        let wish = try request.readImageRequest()
        switch step {
        case .whole:
            let image = try request.readBlock()
            try image.withUnsafeBytes { image in
                try load(image, made, wish, frame, &reply)
                keep(image, wish)
            }
        case .known:
            let (byteCount, hash) = try request.readImageName()
            try request.finish()
            guard let image = cache?.image(ContentHash(bytes: hash), byteCount: byteCount) else {
                return reply.write(ImageAnswer.missing.rawValue)
            }
            try load(UnsafeRawBufferPointer(image.bytes), made, wish, frame, &reply)
        case .part, .assembled:
            try request.finish()
            guard let image = incomingImage, image.module == made, image.isComplete else {
                throw WireError.malformedImage
            }
            incomingImage = nil
            try load(UnsafeRawBufferPointer(image.bytes), made, wish, frame, &reply)
            keep(UnsafeRawBufferPointer(image.bytes), wish)
        }
    }

    /// One image is on its way at a time: the first part of another ends it.
    private func takePart(of module: UInt64, _ request: inout WireReader) throws {
        let (byteCount, encoding, partBytes) = try request.readImagePart()
        if incomingImage?.module != module {
            incomingImage = nil
            incomingImage = try IncomingImage(module: module, byteCount: byteCount)
        }
        guard let image = incomingImage, image.bytes.count == byteCount else { throw WireError.malformedImage }
        let part = try request.readBlock()
        try part.withUnsafeBytes { part throws(WireError) in
            try image.append(part, encoding, byteCount: partBytes)
        }
    }

    /// Keeps an image that could be loaded for later sessions, if it is worth that and the client agrees.
    private func keep(_ image: UnsafeRawBufferPointer, _ wish: ImageRequest) {
        if wish.mayBeKept, image.count >= Limits.keptImageBytesMin { cache?.keep(image) }
    }

    private func load(
        _ image: UnsafeRawBufferPointer, _ made: UInt64, _ wish: ImageRequest, _ frame: FrameHeader,
        _ reply: inout PayloadWriter
    ) throws {
        var log = JITLog()
        let context = try contexts.driverHandle(frame.context)
        reply.write(ImageAnswer.found.rawValue)
        do throws(CUDAError) {
            let module = try driver.cuModuleLoadDataEx(
                context, image: RawSpan(_unsafeBytes: image), options: wish.options, log: &log)
            reply.write(log)
            do { try modules.insert(made, module) } catch { throw CUDAError.invalidHandle }
        } catch {
            // The log tells what is wrong with the image.
            reply.removeAll()
            reply.write(ImageAnswer.found.rawValue)
            reply.write(log)
            throw error
        }
    }
}

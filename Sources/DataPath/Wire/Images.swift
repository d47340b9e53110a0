// SPDX-License-Identifier: Apache-2.0
package import Driver

/// How a frame of `cuModuleLoadDataEx` gives the image: the byte behind the number of the module.
///
/// A small image comes with the call. A larger one is named by its content first, and comes in parts when the server
/// does not have it. What a content's hash is, the server computes itself from what it was sent: no client can give
/// another one's image a name.
package enum ImageStep: UInt8, Sendable {
    /// ``ImageRequest``, then the image.
    case whole = 0
    /// ``ImageRequest``, then the length of the image `u64` and its SHA-256.
    case known = 1
    /// A part of an image: the length of all of it `u64`, an ``ImageEncoding``, the part's length when decoded `u32`,
    /// and the part. Nobody waits for it.
    case part = 2
    /// ``ImageRequest``: all parts have been sent.
    case assembled = 3
}

/// How the bytes of a part travel.
package enum ImageEncoding: UInt8, Sendable {
    case plain = 0
    /// One frame of zstd.
    case zstd = 1
}

/// What a server can do with images, told behind the description of its driver: one byte.
package struct ImageAbilities: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// It keeps images, so that asking for one by its content may spare sending it.
    package static let keepsImages = ImageAbilities(rawValue: 1)
    /// It takes parts in ``ImageEncoding/zstd``.
    package static let readsZstandard = ImageAbilities(rawValue: 2)
}

/// The first byte of an answer to a load: whether the image was there.
package enum ImageAnswer: UInt8, Sendable {
    case missing = 0
    case found = 1
}

/// Bytes of the SHA-256 that names an image.
package let imageHashByteCount = 32

/// What a load asks for beside the image: flags `u8` (1: the server may keep it) and the options.
package struct ImageRequest: Sendable, Equatable {
    package var mayBeKept: Bool
    package var options: [JITOption]

    package init(mayBeKept: Bool, options: [JITOption]) {
        self.mayBeKept = mayBeKept
        self.options = options
    }
}

extension PayloadWriter {
    package mutating func write(_ request: ImageRequest) {
        write(UInt8(request.mayBeKept ? 1 : 0))
        write(request.options)
    }

    /// `hash` has ``imageHashByteCount`` bytes.
    package mutating func write(imageOf byteCount: Int, hash: [UInt8]) {
        precondition(hash.count == imageHashByteCount, "a SHA-256 has 32 bytes")
        write(UInt64(byteCount))
        hash.forEach { write($0) }
    }

    package mutating func write(partOf byteCount: Int, _ encoding: ImageEncoding, byteCount partBytes: Int) {
        write(UInt64(byteCount))
        write(encoding.rawValue)
        write(UInt32(partBytes))
    }
}

extension WireReader {
    @_lifetime(self: copy self)
    package mutating func readImageRequest() throws(WireError) -> ImageRequest {
        let flags = try read(UInt8.self)
        return ImageRequest(mayBeKept: flags & 1 != 0, options: try readJITOptions())
    }

    @_lifetime(self: copy self)
    package mutating func readImageName() throws(WireError) -> (byteCount: Int, hash: [UInt8]) {
        let byteCount = try readImageLength()
        return (byteCount, try read(count: imageHashByteCount).withUnsafeBytes { Array($0) })
    }

    /// What stands in front of a part's bytes.
    @_lifetime(self: copy self)
    package mutating func readImagePart() throws(WireError) -> (byteCount: Int, ImageEncoding, partBytes: Int) {
        let byteCount = try readImageLength()
        guard let encoding = ImageEncoding(rawValue: try read(UInt8.self)) else { throw .malformedImage }
        return (byteCount, encoding, Int(try read(UInt32.self)))
    }

    @_lifetime(self: copy self)
    private mutating func readImageLength() throws(WireError) -> Int {
        let byteCount = try read(UInt64.self)
        guard byteCount <= UInt64(Limits.imageBytesMax) else {
            throw .tooLong(Int(clamping: byteCount), limit: Limits.imageBytesMax)
        }
        return Int(byteCount)
    }
}

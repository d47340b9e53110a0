// SPDX-License-Identifier: Apache-2.0
import CCompression

/// How a fat binary's payload is compressed.
enum Compression {
    /// One standard frame.
    case zstd
    /// A raw block without a frame.
    case lz4

    /// Decompresses into exactly `byteCount` bytes; nil when the data are damaged.
    func decompress(_ source: [UInt8], byteCount: Int) -> [UInt8]? {
        guard byteCount > 0, let capacity = Int32(exactly: byteCount), let sourceCount = Int32(exactly: source.count)
        else { return nil }
        // What is announced but cannot be in the data gets no room: a byte of LZ4 stands for 255 at most, and a frame
        // of Zstandard says its length.
        switch self {
        case .lz4: guard byteCount <= 255 * source.count else { return nil }
        case .zstd:
            let announced = source.withUnsafeBytes { ZSTD_getFrameContentSize($0.baseAddress, $0.count) }
            guard announced == UInt64(byteCount) || announced == UInt64.max else { return nil }
        }
        var written = 0
        let target = [UInt8](unsafeUninitializedCapacity: byteCount) { target, initialized in
            source.withUnsafeBytes { source in
                switch self {
                case .zstd:
                    let count = ZSTD_decompress(target.baseAddress, byteCount, source.baseAddress, source.count)
                    written = ZSTD_isError(count) == 0 ? count : 0
                case .lz4:
                    let count = LZ4_decompress_safe(source.baseAddress, target.baseAddress, sourceCount, capacity)
                    written = max(0, Int(count))
                }
            }
            initialized = written
        }
        return written == byteCount ? target : nil
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Compression of single pieces, by libzstd where the machine has it.
package struct Zstandard: Sendable {
    private typealias Convert =
        @convention(c) (UnsafeMutableRawPointer?, Int, UnsafeRawPointer?, Int) -> Int
    private typealias ConvertAtLevel =
        @convention(c) (UnsafeMutableRawPointer?, Int, UnsafeRawPointer?, Int, Int32) -> Int

    /// The fastest of the regular levels: code shrinks to a third, and higher ones gain little more.
    private static let level: Int32 = 1

    private let compress: ConvertAtLevel
    private let decompress: Convert
    private let isError: @convention(c) (Int) -> UInt32

    private init?(_ library: SystemLibrary?) {
        guard let library, let compress: ConvertAtLevel = library.function("ZSTD_compress"),
            let decompress: Convert = library.function("ZSTD_decompress"),
            let isError: @convention(c) (Int) -> UInt32 = library.function("ZSTD_isError")
        else { return nil }
        self.compress = compress
        self.decompress = decompress
        self.isError = isError
    }

    /// The machine's; nil without libzstd.
    package static let ofMachine = Zstandard(SystemLibrary("libzstd.so.1"))

    /// Compresses a piece into the beginning of a buffer; nil when that is too small for what comes out.
    package func compress(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Int? {
        let count = compress(target.baseAddress, target.count, source.baseAddress, source.count, Zstandard.level)
        return isError(count) == 0 ? count : nil
    }

    /// Decompresses a piece that must fill the target exactly; false when it is damaged.
    package func decompress(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Bool {
        let count = decompress(target.baseAddress, target.count, source.baseAddress, source.count)
        return isError(count) == 0 && count == target.count
    }
}

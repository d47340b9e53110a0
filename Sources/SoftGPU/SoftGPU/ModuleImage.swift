// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Finds the PTX texts in whatever a program gives to `cuModuleLoadData`.
enum ModuleImage {
    /// Images beyond this are refused.
    ///
    /// The largest known fat binaries have some hundred MB.
    static let imageBytesMax = 1 << 30

    /// The PTX texts to link for a device of `capability` (75 for 7.5); what is missing is said in the log.
    static func sources(
        in image: [UInt8], capability: Int, log: inout JITLog
    ) throws(CUDAError) -> [[UInt8]] {
        guard image.count <= imageBytesMax else { throw .invalidImage }
        if LinkedImage.isOne(image) { return try LinkedImage.sources(in: image) }
        if FatBinary.isOne(image) {
            let texts = try FatBinary.sources(in: image, capability: capability, log: &log)
            return texts
        }
        if image.starts(with: [0x7f, 0x45, 0x4c, 0x46]) {
            log.error += "The software GPU executes PTX only, and this image is machine code (a cubin).\n"
            throw CUDAError(CUDA_ERROR_NO_BINARY_FOR_GPU)
        }
        return [try text(image, capability: capability, log: &log)]
    }

    /// A PTX text without its NUL, if the device can run it.
    private static func text(_ image: [UInt8], capability: Int, log: inout JITLog) throws(CUDAError) -> [UInt8] {
        let text = withoutNULs(image)
        guard contains(text, ".version") else {
            log.error += "The image is neither PTX, nor a fat binary, nor a linked module.\n"
            throw .invalidImage
        }
        if let target = target(of: text), target > capability {
            log.error += "The PTX is for sm_\(target); the software GPU has sm_\(capability).\n"
            throw CUDAError(CUDA_ERROR_NO_BINARY_FOR_GPU)
        }
        return text
    }

    /// PTX up to its first NUL.
    static func withoutNULs(_ image: [UInt8]) -> [UInt8] {
        guard let end = image.firstIndex(of: 0) else { return image }
        return Array(image[..<end])
    }

    /// The number behind `.target sm_`.
    static func target(of text: [UInt8]) -> Int? {
        guard let start = position(of: ".target", in: text),
            let name = position(of: "sm_", in: text[start...].prefix(200))
        else { return nil }
        var number: Int?
        for byte in text[(name + 3)...].prefix(3) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { break }
            number = (number ?? 0) * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return number
    }

    private static func contains(_ text: [UInt8], _ word: StaticString) -> Bool {
        position(of: word, in: text[...]) != nil
    }

    private static func position(of word: StaticString, in text: [UInt8]) -> Int? { position(of: word, in: text[...]) }

    private static func position(of word: StaticString, in text: ArraySlice<UInt8>) -> Int? {
        let pattern = UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
        guard text.count >= pattern.count else { return nil }
        return (text.startIndex...(text.endIndex - pattern.count)).first { start in
            text[start] == pattern[0] && text[start..<start + pattern.count].elementsEqual(pattern)
        }
    }
}

/// What the linker returns: the PTX texts that belong together.
///
/// Layout, little-endian: 8 bytes of magic, u32 number of blocks, then for each block u32 its length and its bytes. The
/// first block is the u32 CU_JIT_MAX_REGISTERS, or 0; the others are the texts. The exported functions find the end of
/// an image by the lengths, so they know them too (Shim, `Image`).
enum LinkedImage {
    private static let magic: [UInt8] = Array("BFPTXLNK".utf8)
    /// Inputs of one link.
    static let sourcesMax = 65_535

    static func isOne(_ image: [UInt8]) -> Bool { image.starts(with: magic) }

    static func make(of sources: [[UInt8]], registersMax: UInt32) -> [UInt8] {
        var image = magic
        append(UInt32(sources.count + 1), to: &image)
        append(4, to: &image)
        append(registersMax, to: &image)
        for source in sources {
            append(UInt32(source.count), to: &image)
            image += source
        }
        return image
    }

    /// What the linker was told; 0 for other images.
    static func registersMax(in image: [UInt8]) throws(CUDAError) -> UInt32 {
        guard isOne(image), let first = try blocks(in: image).first else { return 0 }
        return try LittleEndianReader(first).uint32(at: 0)
    }

    static func sources(in image: [UInt8]) throws(CUDAError) -> [[UInt8]] {
        try blocks(in: image).dropFirst().map { Array($0) }
    }

    private static func blocks(in image: [UInt8]) throws(CUDAError) -> [ArraySlice<UInt8>] {
        let reader = LittleEndianReader(image)
        var offset = magic.count
        let count = Int(try reader.uint32(at: offset))
        guard (1...sourcesMax + 1).contains(count) else { throw .invalidImage }
        offset += 4
        var blocks: [ArraySlice<UInt8>] = []
        for _ in 0..<count {
            let length = Int(try reader.uint32(at: offset))
            blocks.append(try reader.bytes(at: offset + 4, count: length))
            offset += 4 + length
        }
        return blocks
    }

    private static func append(_ value: UInt32, to image: inout [UInt8]) {
        for shift in stride(from: 0, to: 32, by: 8) { image.append(UInt8(truncatingIfNeeded: value >> UInt32(shift))) }
    }
}

/// Numbers in an image, every access checked.
///
/// CUDA_ERROR_INVALID_IMAGE beyond the end.
struct LittleEndianReader {
    let image: ArraySlice<UInt8>

    init(_ image: [UInt8]) { self.image = image[...] }
    init(_ image: ArraySlice<UInt8>) { self.image = image }

    func bytes(at offset: Int, count: Int) throws(CUDAError) -> ArraySlice<UInt8> {
        guard offset >= 0, count >= 0, offset <= image.count, count <= image.count - offset else { throw .invalidImage }
        return image[(image.startIndex + offset)..<(image.startIndex + offset + count)]
    }

    func uint16(at offset: Int) throws(CUDAError) -> UInt16 { UInt16(truncatingIfNeeded: try number(at: offset, 2)) }
    func uint32(at offset: Int) throws(CUDAError) -> UInt32 { UInt32(truncatingIfNeeded: try number(at: offset, 4)) }
    func uint64(at offset: Int) throws(CUDAError) -> UInt64 { try number(at: offset, 8) }

    private func number(at offset: Int, _ count: Int) throws(CUDAError) -> UInt64 {
        try bytes(at: offset, count: count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Driver
import Glibc

/// Finds the extent of a program image of which an application passes only the address.
///
/// Five forms are accepted: the wrapper that compilers register, a fat binary container, a cubin, PTX as text, and what
/// the software GPU's linker returns. The memory is the application's own; what its headers say is checked before it is
/// used.
enum Image {
    /// No image is larger; a size beyond it is a damaged header.
    static let bytesMax = 4 << 30
    /// No PTX text is longer.
    static let textBytesMax = 1 << 30

    private static let wrapperMagic: UInt32 = 0x4662_43b1
    private static let containerMagic: UInt32 = 0xba55_ed50
    /// `7f E L F`, little-endian.
    private static let elfMagic: UInt32 = 0x464c_457f

    /// The bytes that a driver is handed: a container, a cubin, or text without its NUL.
    static func bytes(at address: UnsafeRawPointer?) throws(CUDAError) -> UnsafeRawBufferPointer {
        guard let address else { throw .invalidValue }
        // Text may be shorter than a magic number: it is told by its first byte.
        if isText(address.load(as: UInt8.self)) {
            return try isLinked(address) ? linkedBytes(at: address) : textBytes(at: address)
        }
        switch magic(at: address) {
        case wrapperMagic:
            let version = address.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
            let container = UInt(address.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            // In version 2 the linked container comes first too; the list of its parts behind it serves only relinking.
            guard version == 1 || version == 2, let container = UnsafeRawPointer(bitPattern: container) else {
                throw .invalidImage
            }
            switch magic(at: container) {
            case containerMagic: return try containerBytes(at: container)
            case elfMagic: return try elfBytes(at: container)
            default: throw .invalidImage
            }
        case containerMagic: return try containerBytes(at: address)
        case elfMagic: return try elfBytes(at: address)
        default: throw .invalidImage
        }
    }

    private static func magic(at address: UnsafeRawPointer) -> UInt32 {
        UInt32(littleEndian: address.loadUnaligned(as: UInt32.self))
    }

    /// Printable ASCII, white space, or the first byte of a byte order mark.
    ///
    /// No binary form begins so: their magic numbers begin with b1, 50 (checked below) and 7f.
    private static func isText(_ byte: UInt8) -> Bool {
        (0x20..<0x7f).contains(byte) && byte != 0x50 || (0x09...0x0d).contains(byte) || byte == 0xef || byte == 0
    }

    private static func textBytes(at address: UnsafeRawPointer) throws(CUDAError) -> UnsafeRawBufferPointer {
        let count = strnlen(address.assumingMemoryBound(to: CChar.self), textBytesMax)
        guard count > 0, count < textBytesMax else { throw .invalidImage }
        return UnsafeRawBufferPointer(start: address, count: count)
    }

    /// `BFPTXLNK`: texts that the software GPU's linker put together.
    private static func isLinked(_ address: UnsafeRawPointer) -> Bool {
        let magic: StaticString = "BFPTXLNK"
        return strncmp(
            address.assumingMemoryBound(to: CChar.self),
            UnsafeRawPointer(magic.utf8Start).assumingMemoryBound(to: CChar.self), magic.utf8CodeUnitCount) == 0
    }

    /// The magic, a 32-bit number of texts, and before each text its 32-bit length.
    private static func linkedBytes(at address: UnsafeRawPointer) throws(CUDAError) -> UnsafeRawBufferPointer {
        let count = address.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        let textsMax: UInt32 = 65_536
        guard count <= textsMax else { throw .invalidImage }
        var end = 12
        for _ in 0..<count {
            end += 4 + Int(address.loadUnaligned(fromByteOffset: end, as: UInt32.self))
            guard end <= bytesMax else { throw .invalidImage }
        }
        return UnsafeRawBufferPointer(start: address, count: end)
    }

    /// A header of 16 bytes (magic, version, header size, size of what follows it), then entries.
    private static func containerBytes(at address: UnsafeRawPointer) throws(CUDAError) -> UnsafeRawBufferPointer {
        let headerBytes = Int(address.loadUnaligned(fromByteOffset: 6, as: UInt16.self))
        let contentBytes = address.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        guard headerBytes >= 16, contentBytes > 0, contentBytes <= UInt64(bytesMax) else { throw .invalidImage }
        return UnsafeRawBufferPointer(start: address, count: headerBytes + Int(contentBytes))
    }

    /// The end of the last section or segment of a 64-bit ELF file.
    private static func elfBytes(at address: UnsafeRawPointer) throws(CUDAError) -> UnsafeRawBufferPointer {
        func short(_ offset: Int) -> Int { Int(address.loadUnaligned(fromByteOffset: offset, as: UInt16.self)) }
        func long(_ offset: Int) -> UInt64 { address.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
        let isELF64 = address.load(fromByteOffset: 4, as: UInt8.self) == 2
        guard isELF64 else { throw .invalidImage }
        var end: UInt64 = 64
        func include(_ offset: UInt64, _ size: UInt64) throws(CUDAError) {
            let (sum, isOverflow) = offset.addingReportingOverflow(size)
            guard !isOverflow, sum <= UInt64(bytesMax) else { throw .invalidImage }
            end = max(end, sum)
        }
        let (programHeaders, programHeaderBytes, programHeaderCount) = (long(32), short(54), short(56))
        let (sections, sectionBytes, sectionCount) = (long(40), short(58), short(60))
        try include(programHeaders, UInt64(programHeaderBytes * programHeaderCount))
        try include(sections, UInt64(sectionBytes * sectionCount))
        guard programHeaderCount == 0 || programHeaderBytes >= 56, sectionCount == 0 || sectionBytes >= 64 else {
            throw .invalidImage
        }
        for index in 0..<programHeaderCount {
            let header = Int(programHeaders) + index * programHeaderBytes
            try include(long(header + 8), long(header + 32))
        }
        let withoutContents: UInt32 = 8
        for index in 0..<sectionCount {
            let header = Int(sections) + index * sectionBytes
            let type = address.loadUnaligned(fromByteOffset: header + 4, as: UInt32.self)
            if type != withoutContents { try include(long(header + 24), long(header + 32)) }
        }
        return UnsafeRawBufferPointer(start: address, count: Int(end))
    }
}

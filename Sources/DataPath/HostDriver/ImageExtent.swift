// SPDX-License-Identifier: Apache-2.0
import Driver

/// Checks that an image ends where its bytes end: CUDA's loaders take an address without a length and believe what
/// stands there, and these bytes come from another machine.
///
/// Layouts: fat binary container (magic `u32` 0xba55ed50, version `u16`, header size `u16`, size of the rest `u64`),
/// and ELF64 (section header table at 40, its entry size and count at 58 and 60; section type, offset and size at 4, 24
/// and 32 of an entry).
enum ImageExtent {
    /// Throws CUDA_ERROR_INVALID_IMAGE for an image that claims more bytes than it has, or holds addresses of its
    /// sender.
    static func check(_ bytes: UnsafeRawBufferPointer) throws(CUDAError) {
        guard bytes.count >= 4 else { return }
        switch number(bytes, 0, 4) {
        case container:
            guard bytes.count >= 16 else { throw .invalidImage }
            let (end, overflow) = number(bytes, 6, 2).addingReportingOverflow(number(bytes, 8, 8))
            guard !overflow, end <= UInt64(bytes.count) else { throw .invalidImage }
        case 0x4662_43b1:
            // A wrapper is a pair of pointers.
            throw .invalidImage
        case elf:
            try checkELF(bytes)
        default:
            return
        }
    }

    private static let container: UInt64 = 0xba55_ed50
    private static let elf: UInt64 = 0x464c_457f

    /// Whether it is a container or an ELF file: those say themselves where they end.
    static func isBinary(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= 4 && [container, elf].contains(number(bytes, 0, 4))
    }

    private static func checkELF(_ bytes: UnsafeRawBufferPointer) throws(CUDAError) {
        guard bytes.count >= 64 else { throw .invalidImage }
        let table = number(bytes, 40, 8)
        let entryBytes = number(bytes, 58, 2)
        let count = number(bytes, 60, 2)
        guard count == 0 || (entryBytes >= 64 && table <= UInt64(bytes.count)),
            table <= UInt64(bytes.count), entryBytes * count <= UInt64(bytes.count) - table
        else { throw .invalidImage }
        for index in 0..<count {
            let entry = Int(table + index * entryBytes)
            // Sections without contents (type 8) take no bytes of the file.
            guard number(bytes, entry + 4, 4) != 8 else { continue }
            let (end, overflow) = number(bytes, entry + 24, 8).addingReportingOverflow(number(bytes, entry + 32, 8))
            guard !overflow, end <= UInt64(bytes.count) else { throw .invalidImage }
        }
    }

    private static func number(_ bytes: UnsafeRawBufferPointer, _ offset: Int, _ count: Int) -> UInt64 {
        bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

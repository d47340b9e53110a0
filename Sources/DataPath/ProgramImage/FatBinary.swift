// SPDX-License-Identifier: Apache-2.0

/// The list of a fat binary's contents: the same code for several architectures, one entry each.
///
/// Only the headers are read, however large the entries are: of an application's pages that hold a fat binary, hardly
/// any are touched. Container: u32 magic, u16 version, u16 header bytes, u64 bytes of the entries. Entry: a header of
/// at least 64 bytes, then the payload; +0 u16 kind, +4 u32 header bytes, +8 u64 payload bytes, +28 u32 architecture,
/// +40 u64 flags.
package struct FatBinary: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        case ptx
        /// Machine code: a cubin.
        case machineCode
        /// Several PTX texts or cubins compressed together, whose list only their reader knows.
        case group
        /// What is compiled when it is linked, and whatever compilers may add.
        case other
    }

    package struct Entry: Equatable, Sendable {
        package let kind: Kind
        /// 90 for compute capability 9.0.
        package let architecture: Int
        /// `sm_90a` runs on that architecture alone.
        package let isForOneArchitecture: Bool
        /// `sm_100f` runs on that architecture and later ones of its family.
        package let isForFamily: Bool
        /// Where the header and the payload stand, from the beginning of the container.
        package let range: Range<Int>

        package init(
            kind: Kind, architecture: Int, isForOneArchitecture: Bool = false, isForFamily: Bool = false,
            range: Range<Int> = 0..<0
        ) {
            self.kind = kind
            self.architecture = architecture
            self.isForOneArchitecture = isForOneArchitecture
            self.isForFamily = isForFamily
            self.range = range
        }

        /// The name as compilers give it: `sm_90a`, `compute_75`.
        package var name: String {
            (kind == .machineCode ? "sm_" : "compute_") + String(architecture)
                + (isForOneArchitecture ? "a" : isForFamily ? "f" : "")
        }
    }

    package static let magic: UInt32 = 0xba55_ed50
    package static let headerBytes = 16
    private static let entryHeaderBytesMin = 64
    /// Compilers make a few entries for each of some ten architectures; a longer list is none of theirs.
    private static let entriesMax = 4096

    private enum Flags {
        static let oneArchitecture: UInt64 = 0x10_0000
        static let family: UInt64 = 0x20_0000
    }

    package let entries: [Entry]

    /// The first container of an image; nil when the image is none, or its headers do not fit it.
    package init?(_ image: UnsafeRawBufferPointer) {
        guard image.count >= Self.headerBytes, Self.number(image, 0, UInt32.self) == Self.magic else { return nil }
        let start = Int(Self.number(image, 6, UInt16.self))
        guard start >= Self.headerBytes, let byteCount = Int(exactly: Self.number(image, 8, UInt64.self)),
            start <= image.count, byteCount <= image.count - start
        else { return nil }
        let end = start + byteCount
        var entries: [Entry] = []
        var offset = start
        while end - offset >= Self.entryHeaderBytesMin {
            let headerBytes = Int(Self.number(image, offset + 4, UInt32.self))
            guard headerBytes >= Self.entryHeaderBytesMin, headerBytes <= end - offset,
                let payload = Int(exactly: Self.number(image, offset + 8, UInt64.self)),
                payload <= end - offset - headerBytes, entries.count < Self.entriesMax
            else { return nil }
            let next = offset + headerBytes + payload
            let flags = Self.number(image, offset + 40, UInt64.self)
            entries.append(
                Entry(
                    kind: Self.kind(Self.number(image, offset, UInt16.self)),
                    architecture: Int(Self.number(image, offset + 28, UInt32.self)),
                    isForOneArchitecture: flags & Flags.oneArchitecture != 0, isForFamily: flags & Flags.family != 0,
                    range: offset..<next))
            offset = next
        }
        self.entries = entries
    }

    private static func kind(_ number: UInt16) -> Kind {
        switch number {
        case 1: .ptx
        case 2: .machineCode
        case 256: .group
        default: .other
        }
    }

    private static func number<Number: FixedWidthInteger & BitwiseCopyable>(
        _ image: UnsafeRawBufferPointer, _ offset: Int, _ type: Number.Type
    ) -> Number {
        Number(littleEndian: image.loadUnaligned(fromByteOffset: offset, as: type))
    }

    /// The 16 bytes in front of entries that have so many bytes together.
    package static func header(contentBytes: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        func append(_ number: some FixedWidthInteger) { withUnsafeBytes(of: number.littleEndian) { bytes += $0 } }
        append(magic)
        append(UInt16(1))
        append(UInt16(headerBytes))
        append(UInt64(contentBytes))
        return bytes
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// A fat binary: one or several containers, each with the same code for several architectures.
///
/// Container: u32 magic, u16 version, u16 header bytes, u64 bytes of the entries. Entry: a header of at least 64 bytes,
/// then the payload; +0 u16 kind, +4 u32 header bytes, +8 u64 payload bytes, +16 u32 compressed bytes, +28 u32
/// architecture, +40 u64 flags, +56 u64 uncompressed bytes.
enum FatBinary {
    private static let magic: UInt32 = 0xba55_ed50
    private static let entryHeaderBytesMin = 64

    private enum Kind {
        static let ptx: UInt16 = 1
        /// Several payloads compressed together; a table of them follows the entry's header.
        static let group: UInt16 = 256
    }

    private enum Flags {
        static let lz4: UInt64 = 0x2000
        static let zstd: UInt64 = 0x8000
        static let architectureSpecific: UInt64 = 0x10_0000
        static let familySpecific: UInt64 = 0x20_0000
    }

    /// A PTX text for one architecture.
    private struct Candidate {
        let architecture: Int
        /// `sm_90a` and `sm_100f` run on that architecture or family alone.
        let isSpecific: Bool
        let text: () throws(CUDAError) -> [UInt8]
    }

    static func isOne(_ image: [UInt8]) -> Bool { (try? LittleEndianReader(image).uint32(at: 0)) == magic }

    /// Of each container the PTX for the highest architecture that the device has.
    static func sources(in image: [UInt8], capability: Int, log: inout JITLog) throws(CUDAError) -> [[UInt8]] {
        var sources: [[UInt8]] = []
        var rest = image[...]
        while rest.count >= 4, try LittleEndianReader(rest).uint32(at: 0) == magic {
            let reader = LittleEndianReader(rest)
            let headerBytes = Int(try reader.uint16(at: 6))
            guard headerBytes >= 16, let byteCount = Int(exactly: try reader.uint64(at: 8)) else { throw .invalidImage }
            let entries = try reader.bytes(at: headerBytes, count: byteCount)
            sources.append(try best(of: candidates(in: entries), capability: capability, log: &log))
            rest = rest[entries.endIndex...]
            // Containers in a section are aligned; zeros lie between them.
            rest = rest.drop { $0 == 0 }
        }
        return sources
    }

    private static func best(
        of candidates: [Candidate], capability: Int, log: inout JITLog
    ) throws(CUDAError) -> [UInt8] {
        let fitting = candidates.filter { candidate in
            candidate.isSpecific ? candidate.architecture == capability : candidate.architecture <= capability
        }
        if let best = fitting.max(by: { $0.architecture < $1.architecture }) { return try best.text() }
        if candidates.isEmpty {
            log.error +=
                "The software GPU executes PTX only, and this fat binary has none; compile with PTX inside, "
                + "for example with -arch=compute_\(capability).\n"
        } else {
            let found = candidates.map { "compute_\($0.architecture)" }.joined(separator: ", ")
            log.error += "This fat binary has PTX for \(found); the software GPU runs compute_\(capability) and less.\n"
        }
        throw CUDAError(CUDA_ERROR_NO_BINARY_FOR_GPU)
    }

    private static func candidates(in entries: ArraySlice<UInt8>) throws(CUDAError) -> [Candidate] {
        var candidates: [Candidate] = []
        var rest = entries
        while rest.count >= entryHeaderBytesMin {
            let reader = LittleEndianReader(rest)
            let headerBytes = Int(try reader.uint32(at: 4))
            guard headerBytes >= entryHeaderBytesMin, let byteCount = Int(exactly: try reader.uint64(at: 8)) else {
                throw .invalidImage
            }
            let header = LittleEndianReader(try reader.bytes(at: 0, count: headerBytes))
            let payload = try reader.bytes(at: headerBytes, count: byteCount)
            switch try header.uint16(at: 0) {
            case Kind.ptx:
                let entry = Entry(header, payload)
                candidates.append(
                    try candidate(header, at: 0) { () throws(CUDAError) in try entry.contents() })
            case Kind.group: candidates += try group(header, payload)
            default: break
            }
            rest = rest[payload.endIndex...]
        }
        return candidates
    }

    /// The PTX texts of a group: after the header's 64 bytes u32 count, u32 bytes of the table, then 64 bytes for each.
    private static func group(
        _ header: LittleEndianReader, _ payload: ArraySlice<UInt8>
    ) throws(CUDAError) -> [Candidate] {
        let entry = Entry(header, payload)
        let count = Int(try header.uint32(at: entryHeaderBytesMin))
        var candidates: [Candidate] = []
        for index in 0..<min(count, header.image.count / 64) {
            let start = entryHeaderBytesMin + 8 + index * 64
            guard try header.uint16(at: start) == Kind.ptx else { continue }
            let offset = Int(try header.uint32(at: start + 4))
            let byteCount = Int(try header.uint32(at: start + 8))
            candidates.append(
                try candidate(header, at: start) { () throws(CUDAError) in
                    ModuleImage.withoutNULs(
                        Array(try LittleEndianReader(try entry.contents()).bytes(at: offset, count: byteCount)))
                })
        }
        return candidates
    }

    private static func candidate(
        _ header: LittleEndianReader, at start: Int, text: @escaping () throws(CUDAError) -> [UInt8]
    ) throws(CUDAError) -> Candidate {
        let flags = try header.uint64(at: start + 40)
        return Candidate(
            architecture: Int(try header.uint32(at: start + 28)),
            isSpecific: flags & (Flags.architectureSpecific | Flags.familySpecific) != 0, text: text)
    }

    /// A payload, possibly compressed.
    private struct Entry {
        let header: LittleEndianReader
        let payload: ArraySlice<UInt8>

        init(_ header: LittleEndianReader, _ payload: ArraySlice<UInt8>) {
            self.header = header
            self.payload = payload
        }

        func contents() throws(CUDAError) -> [UInt8] {
            let flags = try header.uint64(at: 40)
            guard flags & (Flags.lz4 | Flags.zstd) != 0 else { return ModuleImage.withoutNULs(Array(payload)) }
            let compressed = try LittleEndianReader(payload).bytes(at: 0, count: Int(try header.uint32(at: 16)))
            guard let byteCount = Int(exactly: try header.uint64(at: 56)), byteCount <= ModuleImage.imageBytesMax else {
                throw .invalidImage
            }
            let method: Compression = flags & Flags.zstd != 0 ? .zstd : .lz4
            guard let contents = method.decompress(Array(compressed), byteCount: byteCount) else { throw .invalidImage }
            // A group's texts are cut out before their NULs are.
            return try header.uint16(at: 0) == Kind.group ? contents : ModuleImage.withoutNULs(contents)
        }
    }
}

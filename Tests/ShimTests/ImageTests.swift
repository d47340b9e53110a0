// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

@Suite struct ImageTests {
    @Test func measuresTextToItsNUL() throws {
        #expect(try byteCount(Array(".version 7.0\n".utf8) + [0, 65, 65]) == 13)
    }

    @Test func measuresAContainerByItsHeader() throws {
        #expect(try byteCount(container(contentBytes: 100) + [UInt8](repeating: 1, count: 200)) == 116)
    }

    @Test(arguments: [UInt32(1), 2])
    func followsAWrapperToItsContainer(version: UInt32) throws {
        let container = container(contentBytes: 8) + [UInt8](repeating: 0, count: 8)
        try container.withUnsafeBytes { container in
            let address = UInt64(UInt(bitPattern: container.baseAddress))
            let wrapper = little(UInt32(0x4662_43b1)) + little(version) + little(address) + little(UInt64(0))
            try wrapper.withUnsafeBytes { wrapper in
                let image = try Image.bytes(at: wrapper.baseAddress)
                #expect(image.baseAddress == container.baseAddress)
                #expect(image.count == 24)
            }
        }
    }

    @Test func measuresACubinToItsLastSection() throws {
        #expect(try byteCount(elf(sectionOffset: 500, sectionBytes: 20)) == 520)
    }

    @Test func measuresALinkedModule() throws {
        let image =
            Array("BFPTXLNK".utf8) + little(UInt32(2)) + little(UInt32(3)) + [1, 2, 3] + little(UInt32(1)) + [4, 99]
        #expect(try byteCount(image) == 24)
    }

    @Test func refusesWhatIsNoImage() {
        refuses(nil)
        refuses([0])
        refuses([0xff, 0xfe, 0xfd, 0xfc] + [UInt8](repeating: 0, count: 64))
        // A wrapper of another version, and one that leads nowhere.
        refuses(little(UInt32(0x4662_43b1)) + little(UInt32(3)) + little(UInt64(8)) + little(UInt64(0)))
        refuses(little(UInt32(0x4662_43b1)) + little(UInt32(1)) + little(UInt64(0)) + little(UInt64(0)))
        // Sizes that cannot be.
        refuses(container(contentBytes: 0))
        refuses(container(contentBytes: .max))
        refuses(container(contentBytes: UInt64(Image.bytesMax) + 1))
        refuses(container(contentBytes: 8, headerBytes: 4))
        refuses(elf(sectionOffset: .max, sectionBytes: 20))
        refuses(elf(sectionOffset: 1 << 40, sectionBytes: 20))
        refuses(elf(sectionOffset: 500, sectionBytes: 20, sectionHeaderBytes: 8))
        refuses(elf(sectionOffset: 500, sectionBytes: 20, isELF64: false))
    }

    private func refuses(_ image: [UInt8]?, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(throws: CUDAError.self, sourceLocation: sourceLocation) {
            guard let image else { throw try #require(self.failure(nil)) }
            _ = try byteCount(image)
        }
    }

    private func failure(_ address: UnsafeRawPointer?) -> CUDAError? {
        do throws(CUDAError) {
            _ = try Image.bytes(at: address)
            return nil
        } catch {
            return error
        }
    }

    private func byteCount(_ image: [UInt8]) throws -> Int {
        try image.withUnsafeBytes { try Image.bytes(at: $0.baseAddress).count }
    }

    private func container(contentBytes: UInt64, headerBytes: UInt16 = 16) -> [UInt8] {
        little(UInt32(0xba55_ed50)) + little(UInt16(1)) + little(headerBytes) + little(contentBytes)
    }

    /// A header, one section header behind it, and nothing else.
    private func elf(
        sectionOffset: UInt64, sectionBytes: UInt64, sectionHeaderBytes: UInt16 = 64, isELF64: Bool = true
    ) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: 128)
        func put(_ bytes: [UInt8], at offset: Int) {
            header.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
        put([0x7f, 0x45, 0x4c, 0x46, isELF64 ? 2 : 1, 1, 1], at: 0)
        put(little(UInt64(64)), at: 40)
        put(little(sectionHeaderBytes), at: 58)
        put(little(UInt16(1)), at: 60)
        put(little(UInt32(1)), at: 64 + 4)
        put(little(sectionOffset), at: 64 + 24)
        put(little(sectionBytes), at: 64 + 32)
        return header
    }
}

func little(_ number: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: number.littleEndian) { Array($0) } }

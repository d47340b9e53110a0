// SPDX-License-Identifier: Apache-2.0
import Driver
import Testing
import Wire

/// How tensor maps, and what they are made of, travel.
@Suite struct TensorMapTests {
    private static let descriptions = [
        TensorMapDescription.Part.box([1, 2, 3, 4, .max, 0, 0, 0]),
        .pixels(lower: [-1, .min, 3, 0], upper: [1, .max, -3, 0], channelsPerPixel: 256, pixelsPerColumn: 1024),
        .row(lower: -32768, upper: 32767, channelsPerPixel: 3, pixelsPerColumn: 4, mode: 1),
    ].map { part in
        var description = TensorMapDescription(part: part)
        description.dataType = 15
        description.rank = 5
        description.address = 0x7f00_1234_5670
        description.sizes = [1, 2, 3, 4, 1 << 32, 0, 0, 0]
        description.strides = [16, 32, 64, 1 << 40]
        description.elementStrides = [1, 2, 3, 4, 8, 0, 0, 0]
        (description.interleave, description.swizzle) = (2, 6)
        (description.l2Promotion, description.oobFill) = (3, 1)
        return description
    }

    private func payload(_ description: TensorMapDescription) -> [UInt8] {
        var writer = PayloadWriter()
        writer.write(description)
        return writer.bytes
    }

    private func read(_ bytes: [UInt8]) throws(WireError) -> TensorMapDescription {
        var reader = WireReader(bytes.span.bytes)
        let description = try reader.readTensorMapDescription()
        try reader.finish()
        return description
    }

    @Test(arguments: descriptions) func aDescriptionReadsBackAsItWasWritten(_ description: TensorMapDescription) throws
    {
        #expect(try read(payload(description)) == description)
    }

    @Test(arguments: descriptions) func refusesEveryShorterFrame(_ description: TensorMapDescription) {
        let bytes = payload(description)
        for count in bytes.indices {
            #expect(throws: WireError.self) { try read(Array(bytes[..<count])) }
        }
        #expect(throws: WireError.trailingBytes(1)) { try read(bytes + [0]) }
    }

    @Test(arguments: [0, 6, 0x7FFF_FFFF]) func refusesARankThatNoTensorHas(_ rank: Int) {
        var description = Self.descriptions[0]
        description.rank = rank
        #expect(throws: WireError.tooLong(rank, limit: TensorMapDescription.rankMax)) {
            try read(payload(description))
        }
    }

    @Test func refusesPixelsOfTwoDimensions() {
        for description in Self.descriptions.dropFirst() {
            var description = description
            description.rank = 2
            #expect(throws: WireError.notThisProtocol) { try read(payload(description)) }
        }
    }

    @Test func refusesAnUnknownPart() {
        var bytes = payload(Self.descriptions[0])
        // The part's kind stands before the five numbers of the box.
        bytes[bytes.count - 21] = 3
        #expect(throws: WireError.notThisProtocol) { try read(bytes) }
    }

    @Test func aMapReadsBackAsItWasWritten() throws {
        var map = TensorMap(words: SIMD16())
        for index in 0..<16 { map.words[index] = UInt64(index) << 60 | UInt64(index) }
        var writer = PayloadWriter()
        writer.write(map)
        #expect(writer.bytes.count == TensorMap.byteCount)
        var reader = WireReader(writer.bytes.span.bytes)
        #expect(try reader.readTensorMap() == map)
        #expect(writer.bytes.withUnsafeBytes { TensorMap(bytes: $0) } == map)
    }
}

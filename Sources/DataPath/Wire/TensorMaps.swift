// SPDX-License-Identifier: Apache-2.0
package import Driver

// How tensor maps travel, and what they are made of: always as many numbers, whatever the rank.

extension PayloadWriter {
    package mutating func write(_ map: TensorMap) { for index in 0..<16 { write(map.words[index]) } }

    package mutating func write(_ description: TensorMapDescription) {
        for word in [
            description.dataType, UInt32(description.rank), description.interleave, description.swizzle,
            description.l2Promotion, description.oobFill,
        ] { write(word) }
        write(description.address)
        for index in 0..<TensorMapDescription.rankMax { write(description.sizes[index]) }
        for index in 0..<TensorMapDescription.rankMax - 1 { write(description.strides[index]) }
        for index in 0..<TensorMapDescription.rankMax { write(description.elementStrides[index]) }
        switch description.part {
        case .box(let box):
            write(UInt8(0))
            for index in 0..<TensorMapDescription.rankMax { write(box[index]) }
        case .pixels(let lower, let upper, let channelsPerPixel, let pixelsPerColumn):
            write(UInt8(1))
            for index in 0..<TensorMapDescription.rankMax - 2 { write(lower[index]) }
            for index in 0..<TensorMapDescription.rankMax - 2 { write(upper[index]) }
            write(channelsPerPixel)
            write(pixelsPerColumn)
        case .row(let lower, let upper, let channelsPerPixel, let pixelsPerColumn, let mode):
            write(UInt8(2))
            write(lower)
            write(upper)
            write(channelsPerPixel)
            write(pixelsPerColumn)
            write(mode)
        }
    }
}

extension WireReader {
    @_lifetime(self: copy self)
    package mutating func readTensorMap() throws(WireError) -> TensorMap {
        var words = SIMD16<UInt64>()
        for index in 0..<16 { words[index] = try read(UInt64.self) }
        return TensorMap(words: words)
    }

    @_lifetime(self: copy self)
    package mutating func readTensorMapDescription() throws(WireError) -> TensorMapDescription {
        let dataType = try read(UInt32.self)
        let rank = Int(try read(UInt32.self))
        guard 1...TensorMapDescription.rankMax ~= rank else {
            throw .tooLong(rank, limit: TensorMapDescription.rankMax)
        }
        let kinds = (
            try read(UInt32.self), try read(UInt32.self), try read(UInt32.self), try read(UInt32.self)
        )
        let address = try read(UInt64.self)
        var sizes = SIMD8<UInt64>()
        for index in 0..<TensorMapDescription.rankMax { sizes[index] = try read(UInt64.self) }
        var strides = SIMD4<UInt64>()
        for index in 0..<TensorMapDescription.rankMax - 1 { strides[index] = try read(UInt64.self) }
        var elementStrides = SIMD8<UInt32>()
        for index in 0..<TensorMapDescription.rankMax { elementStrides[index] = try read(UInt32.self) }
        let part = try readTensorMapPart()
        guard rank >= part.rankMin else { throw .notThisProtocol }
        var description = TensorMapDescription(part: part)
        description.dataType = dataType
        description.rank = rank
        (description.interleave, description.swizzle, description.l2Promotion, description.oobFill) = kinds
        description.address = address
        description.sizes = sizes
        description.strides = strides
        description.elementStrides = elementStrides
        return description
    }

    @_lifetime(self: copy self)
    private mutating func readTensorMapPart() throws(WireError) -> TensorMapDescription.Part {
        switch try read(UInt8.self) {
        case 0:
            var box = SIMD8<UInt32>()
            for index in 0..<TensorMapDescription.rankMax { box[index] = try read(UInt32.self) }
            return .box(box)
        case 1:
            var lower = SIMD4<Int32>()
            var upper = SIMD4<Int32>()
            for index in 0..<TensorMapDescription.rankMax - 2 { lower[index] = try read(Int32.self) }
            for index in 0..<TensorMapDescription.rankMax - 2 { upper[index] = try read(Int32.self) }
            return .pixels(
                lower: lower, upper: upper, channelsPerPixel: try read(UInt32.self),
                pixelsPerColumn: try read(UInt32.self))
        case 2:
            return .row(
                lower: try read(Int32.self), upper: try read(Int32.self), channelsPerPixel: try read(UInt32.self),
                pixelsPerColumn: try read(UInt32.self), mode: try read(UInt32.self))
        default: throw .notThisProtocol
        }
    }
}

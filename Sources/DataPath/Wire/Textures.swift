// SPDX-License-Identifier: Apache-2.0
package import Driver

// How texture objects are described to the server. Arrays are the client's numbers.

extension PayloadWriter {
    package mutating func write(_ resource: TextureResource) {
        switch resource {
        case .array(let array):
            write(UInt8(0))
            write(array.bits)
        case .mipmappedArray(let array):
            write(UInt8(1))
            write(array.bits)
        case .linear(let address, let format, let channels, let byteCount):
            write(UInt8(2))
            write(address)
            write(format)
            write(channels)
            write(byteCount)
        case .pitch2D(let address, let format, let channels, let width, let height, let pitch):
            write(UInt8(3))
            write(address)
            write(format)
            write(channels)
            write(width)
            write(height)
            write(pitch)
        }
    }

    package mutating func write(_ sampler: TextureSampler) {
        write(sampler.addressModes.0)
        write(sampler.addressModes.1)
        write(sampler.addressModes.2)
        write(sampler.filterMode)
        write(sampler.flags)
        write(sampler.anisotropyMax)
        write(sampler.mipmapFilterMode)
        write(sampler.levelBias)
        write(sampler.levelMin)
        write(sampler.levelMax)
        write(sampler.borderColor.0)
        write(sampler.borderColor.1)
        write(sampler.borderColor.2)
        write(sampler.borderColor.3)
    }

    package mutating func write(_ view: ResourceView?) {
        write(UInt8(view == nil ? 0 : 1))
        guard let view else { return }
        write(view.format)
        write(view.width)
        write(view.height)
        write(view.depth)
        write(view.firstLevel)
        write(view.lastLevel)
        write(view.firstLayer)
        write(view.lastLayer)
    }
}

extension WireReader {
    @_lifetime(self: copy self)
    package mutating func readTextureResource() throws(WireError) -> TextureResource {
        switch try read(UInt8.self) {
        case 0: return .array(ArrayHandle(bits: try read(UInt64.self)))
        case 1: return .mipmappedArray(MipmappedArrayHandle(bits: try read(UInt64.self)))
        case 2:
            return .linear(
                try read(UInt64.self), format: try read(UInt32.self), channels: try read(UInt32.self),
                byteCount: try read(Int.self))
        case 3:
            return .pitch2D(
                try read(UInt64.self), format: try read(UInt32.self), channels: try read(UInt32.self),
                width: try read(Int.self), height: try read(Int.self), pitch: try read(Int.self))
        default: throw .notThisProtocol
        }
    }

    @_lifetime(self: copy self)
    package mutating func readTextureSampler() throws(WireError) -> TextureSampler {
        var sampler = TextureSampler()
        sampler.addressModes = (try read(UInt32.self), try read(UInt32.self), try read(UInt32.self))
        sampler.filterMode = try read(UInt32.self)
        sampler.flags = try read(UInt32.self)
        sampler.anisotropyMax = try read(UInt32.self)
        sampler.mipmapFilterMode = try read(UInt32.self)
        sampler.levelBias = try read(Float.self)
        sampler.levelMin = try read(Float.self)
        sampler.levelMax = try read(Float.self)
        sampler.borderColor = (
            try read(Float.self), try read(Float.self), try read(Float.self), try read(Float.self)
        )
        return sampler
    }

    @_lifetime(self: copy self)
    package mutating func readResourceView() throws(WireError) -> ResourceView? {
        guard try read(UInt8.self) != 0 else { return nil }
        return ResourceView(
            format: try read(UInt32.self), width: try read(Int.self), height: try read(Int.self),
            depth: try read(Int.self), levels: (try read(UInt32.self), try read(UInt32.self)),
            layers: (try read(UInt32.self), try read(UInt32.self)))
    }
}

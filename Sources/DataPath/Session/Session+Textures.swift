// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Wire

/// 64-bit values of the driver that the client knows, by the client's number of the context that they live in.
///
/// Drivers of real GPUs count them in each context anew, so the value alone does not say which one it is.
struct ObjectValues {
    private var values: [UInt64: Set<UInt64>] = [:]
    private var count = 0

    mutating func insert(_ value: UInt64, context: UInt64) throws(CUDAError) {
        guard count < Limits.handlesMax else { throw .outOfMemory }
        if values[context, default: []].insert(value).inserted { count += 1 }
    }

    /// Takes a value out; CUDA_ERROR_INVALID_VALUE when the client has none such.
    mutating func remove(_ value: UInt64, context: UInt64) throws(CUDAError) {
        guard values[context]?.remove(value) != nil else { throw .invalidValue }
        count -= 1
    }

    mutating func forget(_ context: UInt64) { count -= values.removeValue(forKey: context)?.count ?? 0 }
}

extension Session {
    func perform_cuTexObjectCreate(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let named = try request.readTextureResource()
        let sampler = try request.readTextureSampler()
        let view = try request.readResourceView()
        try request.finish()
        let resource = try driverResource(named)
        let context = try contexts.driverHandle(frame.context)
        let made = try driver.cuTexObjectCreate(context, resource: resource, sampler: sampler, view: view)
        try textures.insert(made, context: frame.context)
        reply.write(made)
    }

    func perform_cuTexObjectDestroy(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let value = try request.read(UInt64.self)
        try request.finish()
        try textures.remove(value, context: frame.context)
        try driver.cuTexObjectDestroy(contexts.driverHandle(frame.context), texObject: value)
    }

    func perform_cuSurfObjectCreate(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let array = try request.read(UInt64.self)
        try request.finish()
        let context = try contexts.driverHandle(frame.context)
        let made = try driver.cuSurfObjectCreate(context, array: arrays.driverHandle(array))
        try surfaces.insert(made, context: frame.context)
        reply.write(made)
    }

    func perform_cuSurfObjectDestroy(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let value = try request.read(UInt64.self)
        try request.finish()
        try surfaces.remove(value, context: frame.context)
        try driver.cuSurfObjectDestroy(contexts.driverHandle(frame.context), surfObject: value)
    }

    func perform_cuTexRefSetArray(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let module = try request.read(UInt64.self)
        let name = try request.readText()
        let resource = try request.readTextureResource()
        let sampler = try request.readTextureSampler()
        try request.finish()
        try driver.cuTexRefSetArray(
            contexts.driverHandle(frame.context), hmod: modules.driverHandle(module), name: name,
            resource: driverResource(resource), sampler: sampler)
    }

    /// What a texture reads, with the driver's handles in place of the client's numbers.
    private func driverResource(_ resource: TextureResource) throws(CUDAError) -> TextureResource {
        switch resource {
        case .array(let array): .array(try arrays.driverHandle(array.bits))
        case .mipmappedArray(let array): .mipmappedArray(try mipmappedArrays.driverHandle(array.bits))
        case .linear, .pitch2D: resource
        }
    }

    /// The levels of a mipmapped array have ended with it.
    func forgetLevels(of mipmappedArray: UInt64) {
        for level in levelsOfMipmappedArray.removeValue(forKey: mipmappedArray) ?? [] { arrays.remove(level) }
    }

    func readBox(_ request: inout WireReader) throws -> DeviceBox {
        var box = DeviceBox(
            address: try request.read(CUdeviceptr.self), pitch: try request.read(Int.self),
            rows: try request.read(Int.self))
        box.array = try arrays.driverHandle(try request.read(UInt64.self))
        (box.x, box.y, box.z) = (try request.read(Int.self), try request.read(Int.self), try request.read(Int.self))
        return box
    }
}

// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
package import Driver
import KernelCompiler
import Synchronization

/// A texture or surface object that a reference stands for; it ends when neither the reference nor a launch has it.
final class ReferencedImage: Sendable {
    let handle: UInt64
    private let isSurface: Bool
    private let context: UInt64
    private let images: ImageList

    init(_ image: sg_image, of context: UInt64, _ images: ImageList) throws(CUDAError) {
        handle = try images.add(image, of: context)
        isSurface = image.is_surface != 0
        self.context = context
        self.images = images
    }

    // The context may have ended before, with all objects in it.
    deinit { try? images.remove(handle, isSurface: isSurface, of: context) }
}

/// What the texture and surface references of a module stand for, in the order of the program.
final class ModuleReferences: Sendable {
    private let descriptions: [ReferenceDescription]
    private let bound: Mutex<[ReferencedImage?]>

    init(_ descriptions: [ReferenceDescription]) {
        self.descriptions = descriptions
        bound = Mutex(Array(repeating: nil, count: descriptions.count))
    }

    func index(of name: String, isSurface: Bool) throws(CUDAError) -> Int {
        guard let index = descriptions.firstIndex(where: { $0.name == name && $0.isSurface == isSurface }) else {
            throw .notFound
        }
        return index
    }

    func bind(_ index: Int, to image: ReferencedImage) {
        // What it stood for before may end here, outside of the lock.
        let before = bound.withLock { bound in
            let before = bound[index]
            bound[index] = image
            return before
        }
        withExtendedLifetime(before) {}
    }

    /// Enqueues a kernel with what the references stand for now: their handles follow its parameters, 0 where there is
    /// none, which ends a kernel that uses it.
    func submit(
        _ function: Function, _ shape: LaunchGeometry, _ parameters: UnsafeRawBufferPointer, to stream: Stream
    ) {
        let bound = bound.withLock { $0 }
        let offset = function.description.referenceOffset
        withUnsafeTemporaryAllocation(byteCount: offset + bound.count * 8, alignment: 16) { block in
            block.initializeMemory(as: UInt8.self, repeating: 0)
            block.copyMemory(from: parameters)
            for (index, image) in bound.enumerated() {
                block.storeBytes(of: image?.handle ?? 0, toByteOffset: offset + index * 8, as: UInt64.self)
            }
            stream.submit(function, shape, UnsafeRawBufferPointer(block))
        }
        // They live until the kernel is done, whatever the references stand for then.
        stream.submit(.housekeeping { withExtendedLifetime(bound) {} })
    }
}

/// Texture and surface references.
extension SoftGPU {
    package func cuModuleGetTexRef(_ context: ContextHandle, hmod: ModuleHandle, name: String) throws(CUDAError) {
        _ = try reference(context, hmod, name, isSurface: false)
    }

    package func cuModuleGetSurfRef(_ context: ContextHandle, hmod: ModuleHandle, name: String) throws(CUDAError) {
        _ = try reference(context, hmod, name, isSurface: true)
    }

    package func cuTexRefSetArray(
        _ context: ContextHandle, hmod: ModuleHandle, name: String, resource: TextureResource, sampler: TextureSampler
    ) throws(CUDAError) {
        let (references, index) = try reference(context, hmod, name, isSurface: false)
        let image = try image(of: resource, sampler, nil)
        references.bind(index, to: try ReferencedImage(image, of: context.bits, images))
    }

    package func cuSurfRefSetArray(
        _ context: ContextHandle, hmod: ModuleHandle, name: String, hArray: ArrayHandle
    ) throws(CUDAError) {
        let (references, index) = try reference(context, hmod, name, isSurface: true)
        let image = try image(ofSurface: hArray)
        references.bind(index, to: try ReferencedImage(image, of: context.bits, images))
    }

    private func reference(
        _ context: ContextHandle, _ module: ModuleHandle, _ name: String, isSurface: Bool
    ) throws(CUDAError) -> (ModuleReferences, Int) {
        let module = try self.module(module, in: try self.context(context))
        guard let references = module.references else { throw .notFound }
        return (references, try references.index(of: name, isSurface: isSurface))
    }
}

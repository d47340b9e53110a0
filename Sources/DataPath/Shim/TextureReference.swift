// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A name of a module by which its kernels read a texture, with what it stands for.
///
/// What the application says of it is gathered here, because some of it makes sense only together, and sent before the
/// next launch.
final class TextureReference: Sendable {
    struct State: @unchecked Sendable {
        // SAFETY: a description is a value; the pointers in it are handles that are never followed.
        /// Nil until the application binds something.
        var resource: CUDA_RESOURCE_DESC?
        /// Of memory; an array has its own.
        var format = CU_AD_FORMAT_FLOAT
        var channels: UInt32 = 1
        var sampler = TextureSampler()
    }

    let bits: UInt64
    let name: String
    /// Nil for one of cuTexRefCreate, which no kernel can name.
    let module: Module?
    let state = Mutex(State())

    init(bits: UInt64, name: String, module: Module?) {
        self.bits = bits
        self.name = name
        self.module = module
    }
}

/// A name of a module by which its kernels use the elements of an array.
final class SurfaceReference: Sendable {
    let bits: UInt64
    let name: String
    let module: Module
    /// The application's handle; 0 until there is one.
    let array = Mutex<UInt64>(0)

    init(bits: UInt64, name: String, module: Module) {
        self.bits = bits
        self.name = name
        self.module = module
    }
}

/// Finding references, and sending what they stand for.
extension Shim {
    func cuModuleGetTexRef(
        _ pTexRef: UnsafeMutablePointer<OpaquePointer?>?, _ hmod: OpaquePointer?, _ name: UnsafePointer<CChar>?
    ) throws(CUDAError) {
        guard pTexRef != nil else { throw .invalidValue }
        let (module, name) = (try modules.object(hmod), try text(name))
        if let known = module.contents.withLock({ $0.textureReferences[name] }) {
            return try write(handle: known.bits, to: pTexRef)
        }
        try driver.cuModuleGetTexRef(try module.context.handle, hmod: module.handle, name: name)
        let made = try textureReferences.insert { TextureReference(bits: $0, name: name, module: module) }
        // Another thread may have found it meanwhile.
        let kept = module.contents.withLock { contents in
            let kept = contents.textureReferences[name] ?? made
            contents.textureReferences[name] = kept
            return kept
        }
        if kept !== made { textureReferences.remove(made.bits) }
        try write(handle: kept.bits, to: pTexRef)
    }

    func cuModuleGetSurfRef(
        _ pSurfRef: UnsafeMutablePointer<OpaquePointer?>?, _ hmod: OpaquePointer?, _ name: UnsafePointer<CChar>?
    ) throws(CUDAError) {
        guard pSurfRef != nil else { throw .invalidValue }
        let (module, name) = (try modules.object(hmod), try text(name))
        if let known = module.contents.withLock({ $0.surfaceReferences[name] }) {
            return try write(handle: known.bits, to: pSurfRef)
        }
        try driver.cuModuleGetSurfRef(try module.context.handle, hmod: module.handle, name: name)
        let made = try surfaceReferences.insert { SurfaceReference(bits: $0, name: name, module: module) }
        let kept = module.contents.withLock { contents in
            let kept = contents.surfaceReferences[name] ?? made
            contents.surfaceReferences[name] = kept
            return kept
        }
        if kept !== made { surfaceReferences.remove(made.bits) }
        try write(handle: kept.bits, to: pSurfRef)
    }

    /// Changes a reference; the next launch sends it.
    func change(
        _ handle: OpaquePointer?, _ body: (inout TextureReference.State) throws(CUDAError) -> Void
    ) throws(CUDAError) {
        let reference = try textureReferences.object(handle)
        let isBound = try reference.state.withLock { state throws(CUDAError) in
            try body(&state)
            return state.resource != nil
        }
        guard isBound, reference.module != nil else { return }
        changedReferences.withLock { changed in
            changed[reference.bits] = reference
            changedReferenceCount.store(changed.count, ordering: .relaxed)
        }
    }

    func forgetChanges(of reference: TextureReference) {
        changedReferences.withLock { changed in
            changed[reference.bits] = nil
            changedReferenceCount.store(changed.count, ordering: .relaxed)
        }
    }

    /// Sends what was said of references since the last launch.
    func sendChangedReferences() throws(CUDAError) {
        let changed = changedReferences.withLock { changed in
            let all = Array(changed.values)
            changed.removeAll()
            changedReferenceCount.store(0, ordering: .relaxed)
            return all
        }
        for reference in changed {
            guard let module = reference.module, let context = try? module.context.handle else { continue }
            let state = reference.state.withLock { $0 }
            // What was freed since is not bound: only kernels that read it would have to fail, not all.
            guard let bound = state.boundResource,
                let resource = try? self.resource(bound, on: module.context.device)
            else { continue }
            try driver.cuTexRefSetArray(
                context, hmod: module.handle, name: reference.name, resource: resource, sampler: state.sampler)
        }
    }
}

extension TextureReference.State {
    /// What is bound, with the format that was set last.
    var boundResource: CUDA_RESOURCE_DESC? {
        guard var bound = resource else { return nil }
        if bound.resType == CU_RESOURCE_TYPE_LINEAR {
            bound.res.linear.format = format
            bound.res.linear.numChannels = channels
        }
        return bound
    }
}

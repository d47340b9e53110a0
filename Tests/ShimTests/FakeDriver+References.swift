// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

extension FakeDriver {
    func cuModuleGetTexRef(_ context: ContextHandle, hmod: ModuleHandle, name: String) throws(CUDAError) {
        note("find texture \(name)")
        guard name == "image" else { throw .notFound }
    }
    func cuModuleGetSurfRef(_ context: ContextHandle, hmod: ModuleHandle, name: String) throws(CUDAError) {
        note("find surface \(name)")
        guard name == "canvas" else { throw .notFound }
    }
    func cuTexRefSetArray(
        _ context: ContextHandle, hmod: ModuleHandle, name: String, resource: TextureResource, sampler: TextureSampler
    ) throws(CUDAError) {
        let kind =
            switch resource {
            case .array: "array"
            case .mipmappedArray: "levels"
            case .linear(_, let format, let channels, let byteCount): "\(byteCount) bytes of \(format)x\(channels)"
            case .pitch2D(_, _, _, let width, let height, let pitch): "\(width)x\(height) at \(pitch)"
            }
        note("\(name) is \(kind), filter \(sampler.filterMode), flags \(sampler.flags)")
    }
    func cuSurfRefSetArray(
        _ context: ContextHandle, hmod: ModuleHandle, name: String, hArray: ArrayHandle
    ) throws(CUDAError) { note("\(name) is an array") }
}

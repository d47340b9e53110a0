// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization

/// A module in a context.
final class Module: Sendable {
    struct Contents {
        var functions: [String: Function] = [:]
        /// Addresses of the variables that are known to the address map.
        var globals: [String: (address: CUdeviceptr, bytes: Int)] = [:]
        var textureReferences: [String: TextureReference] = [:]
        var surfaceReferences: [String: SurfaceReference] = [:]
    }

    let bits: UInt64
    let handle: ModuleHandle
    let context: Context
    let contents = Mutex(Contents())

    init(bits: UInt64, handle: ModuleHandle, context: Context) {
        self.bits = bits
        self.handle = handle
        self.context = context
    }
}

/// A kernel in a context, with all that is known about it.
final class Function: Sendable {
    /// What a question about occupancy depends on.
    struct OccupancyKey: Hashable {
        let blockSize: Int32
        let dynamicSharedBytes: Int
        let flags: UInt32
    }

    let bits: UInt64
    let handle: FunctionHandle
    let module: Module
    let context: Context
    let name: ConstantText
    let contextBits: UInt64
    let parameters: [KernelParameter]
    /// Bytes of the packed parameter block.
    let parameterBytes: Int
    let threadsPerBlockMax: UInt32
    /// Bytes of dynamic shared memory that a launch may ask for; the application may raise it.
    let dynamicSharedBytesMax: Atomic<UInt32>
    let attributes: Mutex<[Int32]>
    /// What the functions from before CUDA 4 have set for the next launch.
    let classicLaunch = Mutex(ClassicLaunch())
    let occupancies = Mutex<[OccupancyKey: Int32]>([:])

    init(bits: UInt64, name: String, module: Module, description: FunctionDescription) {
        self.bits = bits
        handle = description.function
        self.module = module
        context = module.context
        contextBits = module.context.bits
        self.name = ConstantText(name)
        parameters = description.parameters
        parameterBytes = description.parameterBytes
        var attributes = description.attributes
        if attributes.count < FunctionDescription.attributeCount {
            attributes += [Int32](repeating: 0, count: FunctionDescription.attributeCount - attributes.count)
        }
        threadsPerBlockMax = UInt32(clamping: attributes[Int(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK.rawValue)])
        dynamicSharedBytesMax = Atomic(
            UInt32(clamping: attributes[Int(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.rawValue)]))
        self.attributes = Mutex(attributes)
    }
}

/// A C string that lives as long as its owner, for calls that return a `const char *`.
final class ConstantText: Sendable {
    private let bits: UInt

    init(_ text: String) { bits = UInt(bitPattern: strdup(text)) }

    deinit { free(UnsafeMutableRawPointer(bitPattern: bits)) }

    var pointer: UnsafePointer<CChar>? { UnsafePointer(bitPattern: bits) }
    var string: String { pointer.map { String(cString: $0) } ?? "" }
}

// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver
import KernelCompiler
import PTX

/// Modules, the linker, and what is known of kernels.
extension SoftGPU {
    package func cuModuleLoadDataEx(
        _ context: ContextHandle, image: RawSpan, options: [JITOption], log: inout JITLog
    ) throws(CUDAError) -> ModuleHandle {
        let context = try self.context(context)
        let bytes = image.withUnsafeBytes { [UInt8]($0) }
        let sources = try ModuleImage.sources(in: bytes, capability: context.device.profile.capability, log: &log)
        let program = try Self.program(of: sources, log: &log)
        if program.usesHeap { try context.environment.heap.reserve() }
        let (memory, variables) = try Module.place(program, on: context.device)
        let registersMax = try Self.registersMax(options, for: bytes)
        let module = try modules.insert { bits in
            Module(
                bits: bits, context: context.bits, program: program, memory: memory, variables: variables,
                registersMax: registersMax, executor: executor)
        }
        for entry in module.entries { memoryMap.insert(entry) }
        return ModuleHandle(bits: module.bits)
    }

    /// CU_JIT_MAX_REGISTERS as it is told here, or was told the linker that made the image; 0 for none.
    private static func registersMax(_ options: [JITOption], for image: [UInt8] = []) throws(CUDAError) -> UInt32 {
        let option = options.last { $0.option == CU_JIT_MAX_REGISTERS.rawValue }
        guard let option else { return try LinkedImage.registersMax(in: image) }
        return UInt32(truncatingIfNeeded: option.value)
    }

    private static func program(of sources: [[UInt8]], log: inout JITLog) throws(CUDAError) -> PTXProgram {
        do {
            return try PTXProgram(sources: sources)
        } catch {
            let line = error.line > 0 ? "line \(error.line): " : ""
            log.error += "ptx input, \(line)error: \(error.message)\n"
            throw error.kind == .unsupported ? .notSupported : CUDAError(CUDA_ERROR_INVALID_PTX)
        }
    }

    package func cuModuleUnload(_ context: ContextHandle, hmod: ModuleHandle) throws(CUDAError) {
        let context = try self.context(context)
        let module = try module(hmod, in: context)
        // Kernels under way may use its variables.
        context.waitForAll()
        modules.remove(module.bits)
        functions.removeAll { $0.module === module }
        _ = memoryMap.removeAll { entry in
            if case .module(module.bits) = entry.owner { true } else { false }
        }
        module.unload()
    }

    package func cuModuleGetFunction(
        _ context: ContextHandle, hmod: ModuleHandle, name: String
    ) throws(CUDAError) -> FunctionDescription {
        let context = try self.context(context)
        let module = try module(hmod, in: context)
        let profile = context.device.profile
        let function = try module.function(named: name) { index throws(CUDAError) in
            try functions.insert { Function(bits: $0, module: module, index: index, profile: profile) }
        }
        return FunctionDescription(
            function: FunctionHandle(bits: function.bits),
            parameters: function.description.parameters.map { KernelParameter(offset: $0.offset, size: $0.size) },
            attributes: function.attributes)
    }

    package func cuModuleGetGlobal_v2(
        _ context: ContextHandle, hmod: ModuleHandle, name: String
    ) throws(CUDAError) -> (dptr: CUdeviceptr, bytes: Int) {
        let context = try self.context(context)
        let variable = try module(hmod, in: context).variable(named: name)
        return (CUdeviceptr(variable.address), variable.byteCount)
    }

    package func cuModuleEnumerateFunctions(
        _ context: ContextHandle, hmod: ModuleHandle
    ) throws(CUDAError) -> [String] {
        let context = try self.context(context)
        return try module(hmod, in: context).program.kernels.map(\.name)
    }

    package func cuLinkComplete(
        _ context: ContextHandle, inputs: [LinkInput], options: [JITOption], log: inout JITLog
    ) throws(CUDAError) -> [UInt8] {
        let context = try self.context(context)
        let capability = context.device.profile.capability
        guard !inputs.isEmpty, inputs.count <= LinkedImage.sourcesMax else { throw .invalidValue }
        var sources: [[UInt8]] = []
        for input in inputs {
            sources += try LinkerInput.sources(of: input, capability: capability, log: &log)
        }
        guard !sources.isEmpty else {
            log.error += "Nothing to link: none of the inputs has PTX.\n"
            throw CUDAError(CUDA_ERROR_NO_BINARY_FOR_GPU)
        }
        // What cannot be linked is told here, not when the result is loaded.
        _ = try Self.program(of: sources, log: &log)
        return LinkedImage.make(of: sources, registersMax: try Self.registersMax(options))
    }

    // MARK: Functions

    package func cuFuncGetAttribute(
        _ context: ContextHandle, attrib: UInt32, hfunc: FunctionHandle
    ) throws(CUDAError) -> Int32 {
        let context = try self.context(context)
        let attributes = try function(hfunc, in: context).attributes
        guard attrib < attributes.count else { throw .invalidValue }
        return attributes[Int(attrib)]
    }

    package func cuFuncSetAttribute(
        _ context: ContextHandle, hfunc: FunctionHandle, attrib: UInt32, value: Int32
    ) throws(CUDAError) {
        let context = try self.context(context)
        try function(hfunc, in: context).setAttribute(attrib, value)
    }

    package func cuFuncSetCacheConfig(
        _ context: ContextHandle, hfunc: FunctionHandle, config: UInt32
    ) throws(CUDAError) {
        let context = try self.context(context)
        _ = try function(hfunc, in: context)
        guard config <= CU_FUNC_CACHE_PREFER_EQUAL.rawValue else { throw .invalidValue }
    }

    package func cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        _ context: ContextHandle, hfunc: FunctionHandle, blockSize: Int32, dynamicSMemSize: Int, flags: UInt32
    ) throws(CUDAError) -> Int32 {
        let context = try self.context(context)
        let function = try function(hfunc, in: context)
        // CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE is 1; there is no other flag.
        guard blockSize > 0, dynamicSMemSize >= 0, flags <= 1 else { throw .invalidValue }
        return Int32(Occupancy.blocks(function, threads: Int(blockSize), dynamicSharedBytes: dynamicSMemSize))
    }

    package func cuOccupancyAvailableDynamicSMemPerBlock(
        _ context: ContextHandle, hfunc: FunctionHandle, numBlocks: Int32, blockSize: Int32
    ) throws(CUDAError) -> Int {
        let context = try self.context(context)
        let function = try function(hfunc, in: context)
        guard numBlocks > 0, blockSize > 0 else { throw .invalidValue }
        return try Occupancy.availableSharedBytes(function, blocks: Int(numBlocks), threads: Int(blockSize))
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver

extension HostDriver {
    package func cuDevicePrimaryCtxRelease_v2(dev: Int32, context: ContextHandle) throws(CUDAError) {
        guard let function = more.cuDevicePrimaryCtxRelease else { throw .notSupported }
        forgetCurrent()
        try check(function(dev))
    }

    package func cuCtxCreate_v2(flags: UInt32, dev: Int32) throws(CUDAError) -> ContextHandle {
        guard let create = more.cuCtxCreate, let pop = more.cuCtxPopCurrent else { throw .notSupported }
        var made: UInt64 = 0
        try check(create(&made, flags, dev))
        // A new context is made current, on top of the one that this thread is known to have.
        var popped: UInt64 = 0
        try check(pop(&popped))
        return ContextHandle(bits: made)
    }

    package func cuCtxDestroy_v2(ctx: ContextHandle) throws(CUDAError) {
        guard let function = more.cuCtxDestroy else { throw .notSupported }
        // The next context may get the same handle.
        forgetCurrent()
        try check(function(ctx.bits))
    }

    package func cuModuleLoadDataEx(
        _ context: ContextHandle, image: RawSpan, options: [JITOption], log: inout JITLog
    ) throws(CUDAError) -> ModuleHandle {
        guard let function = more.cuModuleLoadDataEx else { throw .notSupported }
        try makeCurrent(context)
        var made: UInt64 = 0
        var code = CUDA_SUCCESS
        try withTerminatedImage(image) { bytes throws(CUDAError) in
            try ImageExtent.check(bytes)
            log = withJITOptions(options) { count, names, values in
                code = function(&made, bytes.baseAddress, count, names, values)
            }
        }
        try check(code)
        return ModuleHandle(bits: made)
    }

    /// Calls `body` with an image as CUDA's loaders want it: aligned, and text with a NUL behind it, which need not
    /// have travelled.
    ///
    /// A binary image that lies well is not copied; it may have hundreds of MB.
    private func withTerminatedImage(
        _ image: RawSpan, _ body: (UnsafeRawBufferPointer) throws(CUDAError) -> Void
    ) throws(CUDAError) {
        try image.withUnsafeBytes { bytes throws(CUDAError) in
            let isAligned = UInt(bitPattern: bytes.baseAddress) % UInt(Self.imageAlignment) == 0
            if isAligned, ImageExtent.isBinary(bytes) { return try body(bytes) }
            let copy = UnsafeMutableRawBufferPointer.allocate(
                byteCount: bytes.count + 1, alignment: Self.imageAlignment)
            defer { copy.deallocate() }
            copy.copyMemory(from: bytes)
            copy[bytes.count] = 0
            try body(UnsafeRawBufferPointer(copy))
        }
    }

    /// As compilers align fat binaries.
    private static var imageAlignment: Int { 8 }

    package func cuLinkComplete(
        _ context: ContextHandle, inputs: [LinkInput], options: [JITOption], log: inout JITLog
    ) throws(CUDAError) -> [UInt8] {
        guard let create = more.cuLinkCreate, let add = more.cuLinkAddData, let complete = more.cuLinkComplete,
            let destroy = more.cuLinkDestroy
        else { throw .notSupported }
        try makeCurrent(context)
        var image: [UInt8] = []
        var code = CUDA_SUCCESS
        // The log buffers belong to the whole life of the linker.
        log = withJITOptions(options) { count, names, values in
            var state: UInt64 = 0
            code = create(count, names, values, &state)
            guard code == CUDA_SUCCESS else { return }
            defer { _ = destroy(state) }
            for input in inputs where code == CUDA_SUCCESS {
                var bytes = input.bytes + [0]
                var names = input.options.map(\.option)
                var values = input.options.map { UnsafeMutableRawPointer(bitPattern: UInt($0.value)) }
                code = bytes.withUnsafeMutableBytes { bytes in
                    add(
                        state, input.type, bytes.baseAddress, input.bytes.count, input.name, UInt32(names.count),
                        &names,
                        &values)
                }
            }
            guard code == CUDA_SUCCESS else { return }
            var start: UnsafeMutableRawPointer?
            var count = 0
            code = complete(state, &start, &count)
            if code == CUDA_SUCCESS { image = Array(UnsafeRawBufferPointer(start: start, count: count)) }
        }
        try check(code)
        return image
    }

    /// Calls `body` with the options as C wants them, two log buffers added, and returns what is in those.
    private func withJITOptions(
        _ options: [JITOption],
        _ body: (UInt32, UnsafeMutablePointer<UInt32>?, UnsafeMutablePointer<UnsafeMutableRawPointer?>?) -> Void
    ) -> JITLog {
        let logBytes = 64 << 10
        let info = UnsafeMutableRawBufferPointer.allocate(byteCount: logBytes, alignment: 8)
        let error = UnsafeMutableRawBufferPointer.allocate(byteCount: logBytes, alignment: 8)
        defer {
            info.deallocate()
            error.deallocate()
        }
        for buffer in [info, error] { buffer.initializeMemory(as: UInt8.self, repeating: 0) }
        let numbers = options.filter { !JITOption.pointers.contains($0.option) }
        var names = numbers.map(\.option)
        var values = numbers.map { UnsafeMutableRawPointer(bitPattern: UInt($0.value)) }
        names += [
            CU_JIT_INFO_LOG_BUFFER.rawValue, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES.rawValue,
            CU_JIT_ERROR_LOG_BUFFER.rawValue, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES.rawValue,
        ]
        let size = UnsafeMutableRawPointer(bitPattern: logBytes - 1)
        values += [info.baseAddress, size, error.baseAddress, size]
        body(UInt32(names.count), &names, &values)
        var log = JITLog()
        log.info = text(info)
        log.error = text(error)
        return log
    }

    private func text(_ buffer: UnsafeMutableRawBufferPointer) -> String {
        String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
    }

    package func cuModuleGetFunction(
        _ context: ContextHandle, hmod: ModuleHandle, name: String
    ) throws(CUDAError) -> FunctionDescription {
        guard let function = more.cuModuleGetFunction, let parameterInfo = more.cuFuncGetParamInfo,
            let attribute = functions.cuFuncGetAttribute
        else { throw .notSupported }
        try makeCurrent(context)
        var made: UInt64 = 0
        try check(function(&made, hmod.bits, name))
        var parameters: [KernelParameter] = []
        var offset = 0
        var size = 0
        while parameterInfo(made, parameters.count, &offset, &size) == CUDA_SUCCESS {
            parameters.append(KernelParameter(offset: offset, size: size))
        }
        var attributes = [Int32](repeating: 0, count: FunctionDescription.attributeCount)
        for number in attributes.indices {
            var value: Int32 = 0
            if attribute(&value, UInt32(number), made) == CUDA_SUCCESS { attributes[number] = value }
        }
        return FunctionDescription(
            function: FunctionHandle(bits: made), parameters: parameters, attributes: attributes)
    }

    package func cuModuleEnumerateFunctions(
        _ context: ContextHandle, hmod: ModuleHandle
    ) throws(CUDAError) -> [String] {
        guard let countOf = more.cuModuleGetFunctionCount, let enumerate = more.cuModuleEnumerateFunctions,
            let nameOf = more.cuFuncGetName
        else { throw .notSupported }
        try makeCurrent(context)
        var count: UInt32 = 0
        try check(countOf(&count, hmod.bits))
        var handles = [UInt64](repeating: 0, count: Int(count))
        if count > 0 { try check(enumerate(&handles, count, hmod.bits)) }
        var names: [String] = []
        for handle in handles {
            var name: UnsafePointer<CChar>?
            try check(nameOf(&name, handle))
            names.append(name.map { String(cString: $0) } ?? "")
        }
        return names
    }
}

extension JITOption {
    /// The options whose values are addresses of the caller's memory.
    static let pointers: Set<UInt32> = [
        CU_JIT_WALL_TIME.rawValue, CU_JIT_INFO_LOG_BUFFER.rawValue, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES.rawValue,
        CU_JIT_ERROR_LOG_BUFFER.rawValue, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES.rawValue,
        CU_JIT_GLOBAL_SYMBOL_NAMES.rawValue, CU_JIT_GLOBAL_SYMBOL_ADDRESSES.rawValue,
        CU_JIT_GLOBAL_SYMBOL_COUNT.rawValue, CU_JIT_REFERENCED_KERNEL_NAMES.rawValue,
        CU_JIT_REFERENCED_KERNEL_COUNT.rawValue, CU_JIT_REFERENCED_VARIABLE_NAMES.rawValue,
        CU_JIT_REFERENCED_VARIABLE_COUNT.rawValue,
    ]
}

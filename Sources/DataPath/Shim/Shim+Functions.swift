// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Questions about kernels, answered from what came with the function's handle.
extension Shim {
    /// The function behind a CUfunction, or behind a CUkernel that was cast to one, in a context.
    @inline(__always)
    func function(_ handle: OpaquePointer?, in active: ActiveContext) throws(CUDAError) -> Function {
        if let function = functions[bits(handle)] { return function }
        guard let kernel = kernels[bits(handle)] else { throw .invalidHandle }
        return try function(of: kernel, in: active)
    }

    /// The function behind a handle in the current context, for questions.
    func function(_ handle: OpaquePointer?) throws(CUDAError) -> Function {
        if let function = functions[bits(handle)] { return function }
        guard let kernel = kernels[bits(handle)] else { throw .invalidHandle }
        // A question about a kernel needs no particular context: any function of it answers.
        if let known = kernel.functions.withLock({ $0.first }) { return known }
        return try function(of: kernel, in: try activeContext())
    }

    func cuFuncGetAttribute(
        _ pi: UnsafeMutablePointer<Int32>?, _ attrib: CUfunction_attribute, _ hfunc: OpaquePointer?
    ) throws(CUDAError) {
        try write(try attribute(attrib, of: try function(hfunc)), to: pi)
    }

    func cuFuncSetAttribute(
        _ hfunc: OpaquePointer?, _ attrib: CUfunction_attribute, _ value: Int32
    ) throws(CUDAError) {
        try setAttribute(attrib, value, of: try function(hfunc))
    }

    func cuFuncSetCacheConfig(_ hfunc: OpaquePointer?, _ config: CUfunc_cache) throws(CUDAError) {
        try setCacheConfig(config, of: try function(hfunc))
    }

    /// Devices since Maxwell have banks of four bytes whatever is asked.
    func cuFuncSetSharedMemConfig(_ hfunc: OpaquePointer?, _ config: CUsharedconfig) throws(CUDAError) {
        _ = try function(hfunc)
        guard config.rawValue <= CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE.rawValue else { throw .invalidValue }
    }

    func cuFuncGetModule(_ hmod: UnsafeMutablePointer<OpaquePointer?>?, _ hfunc: OpaquePointer?) throws(CUDAError) {
        try write(handle: try function(hfunc).module.bits, to: hmod)
    }

    func cuFuncGetName(
        _ name: UnsafeMutablePointer<UnsafePointer<CChar>?>?, _ hfunc: OpaquePointer?
    ) throws(CUDAError) {
        try write(try function(hfunc).name.pointer, to: name)
    }

    func cuFuncGetParamCount(_ func: OpaquePointer?, _ paramCount: UnsafeMutablePointer<Int>?) throws(CUDAError) {
        try write(try function(`func`).parameters.count, to: paramCount)
    }

    func cuFuncGetParamInfo(
        _ func: OpaquePointer?, _ paramIndex: Int, _ paramOffset: UnsafeMutablePointer<Int>?,
        _ paramSize: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let parameters = try function(`func`).parameters
        guard parameters.indices.contains(paramIndex) else { throw .invalidValue }
        try write(parameters[paramIndex].offset, to: paramOffset)
        paramSize?.pointee = parameters[paramIndex].size
    }

    /// A function that has a handle is loaded: only kernels are loaded at first need.
    func cuFuncIsLoaded(
        _ state: UnsafeMutablePointer<CUfunctionLoadingState>?, _ function: OpaquePointer?
    ) throws(CUDAError) {
        _ = try self.function(function)
        try write(CU_FUNCTION_LOADING_STATE_LOADED, to: state)
    }

    func cuFuncLoad(_ function: OpaquePointer?) throws(CUDAError) { _ = try self.function(function) }

    func attribute(_ attribute: CUfunction_attribute, of function: Function) throws(CUDAError) -> Int32 {
        guard attribute.rawValue < CU_FUNC_ATTRIBUTE_MAX.rawValue else { throw .invalidValue }
        return function.attributes.withLock { $0[Int(attribute.rawValue)] }
    }

    func setAttribute(_ attribute: CUfunction_attribute, _ value: Int32, of function: Function) throws(CUDAError) {
        guard attribute.rawValue < CU_FUNC_ATTRIBUTE_MAX.rawValue else { throw .invalidValue }
        try driver.cuFuncSetAttribute(
            try function.context.handle, hfunc: function.handle, attrib: attribute.rawValue, value: value)
        function.attributes.withLock { $0[Int(attribute.rawValue)] = value }
        function.occupancies.withLock { $0 = [:] }
        if attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES {
            function.dynamicSharedBytesMax.store(UInt32(clamping: value), ordering: .relaxed)
        }
    }

    func setCacheConfig(_ config: CUfunc_cache, of function: Function) throws(CUDAError) {
        guard config.rawValue <= CU_FUNC_CACHE_PREFER_EQUAL.rawValue else { throw .invalidValue }
        try driver.cuFuncSetCacheConfig(try function.context.handle, hfunc: function.handle, config: config.rawValue)
    }
}

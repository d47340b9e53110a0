// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import ProgramImage
import Synchronization

/// Libraries and kernels, built on modules and functions: the driver knows only those.
extension Shim {
    // MARK: Libraries

    func cuLibraryLoadData(
        _ library: UnsafeMutablePointer<OpaquePointer?>?, _ code: UnsafeRawPointer?,
        _ jitOptions: UnsafeMutablePointer<CUjit_option>?,
        _ jitOptionsValues: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ numJitOptions: UInt32,
        _ libraryOptions: UnsafeMutablePointer<CUlibraryOption>?,
        _ libraryOptionValues: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ numLibraryOptions: UInt32
    ) throws(CUDAError) {
        guard library != nil else { throw .invalidValue }
        let isPreserved = try isPreserved(libraryOptions, libraryOptionValues, numLibraryOptions)
        let options = try JITOptions(numJitOptions, jitOptions, jitOptionsValues)
        let image = try Image.bytes(at: code)
        try write(handle: try makeLibrary(image, isPreserved: isPreserved, options).bits, to: library)
    }

    func cuLibraryLoadFromFile(
        _ library: UnsafeMutablePointer<OpaquePointer?>?, _ fileName: UnsafePointer<CChar>?,
        _ jitOptions: UnsafeMutablePointer<CUjit_option>?,
        _ jitOptionsValues: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ numJitOptions: UInt32,
        _ libraryOptions: UnsafeMutablePointer<CUlibraryOption>?,
        _ libraryOptionValues: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ numLibraryOptions: UInt32
    ) throws(CUDAError) {
        guard library != nil else { throw .invalidValue }
        _ = try isPreserved(libraryOptions, libraryOptionValues, numLibraryOptions)
        let options = try JITOptions(numJitOptions, jitOptions, jitOptionsValues)
        let bytes = try readFile(try text(fileName), limit: Image.bytesMax) + [0]
        let made = bytes.withUnsafeBytes { bytes in
            Result { () throws(CUDAError) in
                try makeLibrary(try Image.bytes(at: bytes.baseAddress), isPreserved: false, options)
            }
        }
        try write(handle: try made.get().bits, to: library)
    }

    func cuLibraryUnload(_ library: OpaquePointer?) throws(CUDAError) {
        let library = try libraries.object(library)
        guard libraries.remove(library.bits) != nil else { throw .invalidHandle }
        let contents = library.contents.withLock { contents in
            let ended = contents
            contents = Library.Contents()
            return (Array(ended.modules.values), Array(ended.kernels.values), ended.holdsPrimaryContext)
        }
        for kernel in contents.1 {
            kernels.remove(kernel.bits)
            kernel.functions.withLock { $0 = [] }
        }
        for module in contents.0 where modules.remove(module.bits) != nil { try unload(module) }
        if contents.2 { try cuDevicePrimaryCtxRelease_v2(0) }
    }

    func cuLibraryGetModule(_ pMod: UnsafeMutablePointer<OpaquePointer?>?, _ library: OpaquePointer?) throws(CUDAError)
    {
        guard pMod != nil else { throw .invalidValue }
        let library = try libraries.object(library)
        try write(handle: try module(of: library, in: try activeContext()).bits, to: pMod)
    }

    func cuLibraryGetKernel(
        _ pKernel: UnsafeMutablePointer<OpaquePointer?>?, _ library: OpaquePointer?, _ name: UnsafePointer<CChar>?
    ) throws(CUDAError) {
        guard pKernel != nil else { throw .invalidValue }
        try write(handle: try kernel(try text(name), of: try libraries.object(library)).bits, to: pKernel)
    }

    func cuLibraryGetKernelCount(_ count: UnsafeMutablePointer<UInt32>?, _ lib: OpaquePointer?) throws(CUDAError) {
        try write(UInt32(clamping: try kernelNames(of: try libraries.object(lib)).count), to: count)
    }

    func cuLibraryEnumerateKernels(
        _ kernels: UnsafeMutablePointer<OpaquePointer?>?, _ numKernels: UInt32, _ lib: OpaquePointer?
    ) throws(CUDAError) {
        guard let kernels else { throw .invalidValue }
        let library = try libraries.object(lib)
        for (index, name) in try kernelNames(of: library).prefix(Int(numKernels)).enumerated() {
            kernels[index] = OpaquePointer(bitPattern: UInt(try kernel(name, of: library).bits))
        }
    }

    func cuLibraryGetGlobal(
        _ dptr: UnsafeMutablePointer<CUdeviceptr>?, _ bytes: UnsafeMutablePointer<Int>?, _ library: OpaquePointer?,
        _ name: UnsafePointer<CChar>?
    ) throws(CUDAError) {
        let library = try libraries.object(library)
        let global = try global(try text(name), of: try module(of: library, in: try activeContext()))
        dptr?.pointee = global.address
        bytes?.pointee = global.bytes
    }

    /// A managed variable, which from now on the host may use.
    ///
    /// Which variables are managed is known to the runtime that asks; every other one is as good.
    func cuLibraryGetManaged(
        _ dptr: UnsafeMutablePointer<CUdeviceptr>?, _ bytes: UnsafeMutablePointer<Int>?, _ library: OpaquePointer?,
        _ name: UnsafePointer<CChar>?
    ) throws(CUDAError) {
        let library = try libraries.object(library)
        let active = try contextForVariables(of: library)
        let global = try global(try text(name), of: try module(of: library, in: active))
        try share(managedVariable: global.address, global.bytes, in: active.context)
        dptr?.pointee = global.address
        bytes?.pointee = global.bytes
    }

    /// The current context, or the primary one of the first device: a runtime asks before it has chosen a device.
    private func contextForVariables(of library: Library) throws(CUDAError) -> ActiveContext {
        if let context = currentContext { return try ActiveContext(context) }
        let isFirst = library.contents.withLock { contents in
            defer { contents.holdsPrimaryContext = true }
            return !contents.holdsPrimaryContext
        }
        if isFirst {
            var context: OpaquePointer?
            try cuDevicePrimaryCtxRetain(&context, 0)
        }
        return try ActiveContext(try primary(0))
    }

    /// Devices without unified function pointers have none.
    func cuLibraryGetUnifiedFunction(
        _ fptr: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ library: OpaquePointer?,
        _ symbol: UnsafePointer<CChar>?
    ) throws(CUDAError) {
        _ = try libraries.object(library)
        _ = try text(symbol)
        throw .notFound
    }

    // MARK: Kernels

    func cuKernelGetFunction(_ pFunc: UnsafeMutablePointer<OpaquePointer?>?, _ kernel: OpaquePointer?) throws(CUDAError)
    {
        guard pFunc != nil else { throw .invalidValue }
        let kernel = try kernels.object(kernel)
        try write(handle: try function(of: kernel, in: try activeContext()).bits, to: pFunc)
    }

    func cuKernelGetLibrary(_ pLib: UnsafeMutablePointer<OpaquePointer?>?, _ kernel: OpaquePointer?) throws(CUDAError) {
        try write(handle: try kernels.object(kernel).library.bits, to: pLib)
    }

    func cuKernelGetName(
        _ name: UnsafeMutablePointer<UnsafePointer<CChar>?>?, _ hfunc: OpaquePointer?
    ) throws(CUDAError) {
        if let kernel = kernels[bits(hfunc)] { return try write(kernel.name.pointer, to: name) }
        try cuFuncGetName(name, hfunc)
    }

    func cuKernelGetParamCount(_ kernel: OpaquePointer?, _ paramCount: UnsafeMutablePointer<Int>?) throws(CUDAError) {
        try cuFuncGetParamCount(kernel, paramCount)
    }

    func cuKernelGetParamInfo(
        _ kernel: OpaquePointer?, _ paramIndex: Int, _ paramOffset: UnsafeMutablePointer<Int>?,
        _ paramSize: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        try cuFuncGetParamInfo(kernel, paramIndex, paramOffset, paramSize)
    }

    func cuKernelGetAttribute(
        _ pi: UnsafeMutablePointer<Int32>?, _ attrib: CUfunction_attribute, _ kernel: OpaquePointer?, _ dev: CUdevice
    ) throws(CUDAError) {
        let function = try function(of: try kernels.object(kernel), in: try context(onDevice: dev))
        try write(try attribute(attrib, of: function), to: pi)
    }

    func cuKernelSetAttribute(
        _ attrib: CUfunction_attribute, _ val: Int32, _ kernel: OpaquePointer?, _ dev: CUdevice
    ) throws(CUDAError) {
        let function = try function(of: try kernels.object(kernel), in: try context(onDevice: dev))
        try setAttribute(attrib, val, of: function)
    }

    func cuKernelSetCacheConfig(_ kernel: OpaquePointer?, _ config: CUfunc_cache, _ dev: CUdevice) throws(CUDAError) {
        let function = try function(of: try kernels.object(kernel), in: try context(onDevice: dev))
        try setCacheConfig(config, of: function)
    }

    // MARK: Loading at first need

    /// The module of a library in a context, loaded when first asked for.
    func module(
        of library: Library, in active: ActiveContext, _ options: JITOptions? = nil
    ) throws(CUDAError) -> Module {
        let key = active.context.bits
        if let module = library.contents.withLock({ $0.modules[key] }) { return module }
        return try library.loading.withLock { _ throws(CUDAError) in
            if let module = library.contents.withLock({ $0.modules[key] }) { return module }
            let options = options ?? JITOptions(numbers: library.options)
            let module = try load(library.image, options, in: active)
            library.contents.withLock { $0.modules[key] = module }
            return module
        }
    }

    /// With CUDA_MODULE_LOADING=EAGER a new context has the code of all libraries from its beginning.
    ///
    /// What does not load there says so when it is used.
    func loadLibraries(into context: Context) {
        guard loadsModulesEagerly, let active = try? ActiveContext(context) else { return }
        for library in libraries.all { _ = try? module(of: library, in: active) }
    }

    /// The function of a kernel in a context.
    func function(of kernel: Kernel, in active: ActiveContext) throws(CUDAError) -> Function {
        let known = kernel.functions.withLock { functions in functions.first { $0.context === active.context } }
        if let known { return known }
        let function = try function(kernel.name.string, of: try module(of: kernel.library, in: active))
        kernel.functions.withLock { functions in
            if !functions.contains(where: { $0 === function }) { functions.append(function) }
        }
        return function
    }

    /// A context that is active on a device: the current one if it is there, else the primary one.
    private func context(onDevice ordinal: CUdevice) throws(CUDAError) -> ActiveContext {
        let device = try device(ordinal)
        if let current = currentContext, current.device === device { return try ActiveContext(current) }
        return try ActiveContext(primaries[Int(device.ordinal)])
    }

    /// An image that the application does not promise to preserve comes from a compiler at run time: it is loaded at
    /// once where a context is current, so that errors and logs come from the call that the application expects to
    /// fail.
    ///
    /// With CUDA_MODULE_LOADING=EAGER every image is, in all contexts.
    private func makeLibrary(
        _ image: UnsafeRawBufferPointer, isPreserved: Bool, _ options: JITOptions
    ) throws(CUDAError) -> Library {
        let library = try libraries.insert { bits in
            Library(
                bits: bits, image: image, isPreserved: isPreserved, options: options.numbers, selection: codeSelection)
        }
        do throws(CUDAError) {
            if loadsModulesEagerly {
                for active in contexts.all.compactMap({ try? ActiveContext($0) }) {
                    _ = try module(of: library, in: active, options)
                }
            } else if !isPreserved, let current = currentContext, let active = try? ActiveContext(current) {
                _ = try module(of: library, in: active, options)
            }
        } catch {
            libraries.remove(library.bits)
            throw error
        }
        return library
    }

    private func isPreserved(
        _ options: UnsafeMutablePointer<CUlibraryOption>?, _ values: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ count: UInt32
    ) throws(CUDAError) -> Bool {
        guard count > 0 else { return false }
        guard let options, let values, count <= CU_LIBRARY_NUM_OPTIONS.rawValue else { throw .invalidValue }
        var isPreserved = false
        for index in 0..<Int(count) {
            switch options[index] {
            case CU_LIBRARY_BINARY_IS_PRESERVED: isPreserved = UInt(bitPattern: values[index]) & 0xff != 0
            // A table with which the host shares functions and data: devices that do not support it ignore it.
            case CU_LIBRARY_HOST_UNIVERSAL_FUNCTION_AND_DATA_TABLE: break
            default: throw .invalidValue
            }
        }
        return isPreserved
    }

    /// A kernel by its name.
    ///
    /// Where a context is current the library is loaded, to see whether it has that kernel.
    private func kernel(_ name: String, of library: Library) throws(CUDAError) -> Kernel {
        if let kernel = library.contents.withLock({ $0.kernels[name] }) { return kernel }
        let made = try kernels.insert { bits in Kernel(bits: bits, library: library, name: name) }
        do throws(CUDAError) {
            if let current = currentContext, let active = try? ActiveContext(current) {
                _ = try function(of: made, in: active)
            }
        } catch {
            kernels.remove(made.bits)
            throw error
        }
        let kept = library.contents.withLock { contents in
            if let earlier = contents.kernels[name] { return earlier }
            contents.kernels[name] = made
            return made
        }
        if kept !== made { kernels.remove(made.bits) }
        return kept
    }

    private func kernelNames(of library: Library) throws(CUDAError) -> [String] {
        let module = try module(of: library, in: try activeContext())
        return try driver.cuModuleEnumerateFunctions(try module.context.handle, hmod: module.handle)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Loading modules and finding what is in them.
extension Shim {
    // MARK: Loading

    func cuModuleLoad(_ module: UnsafeMutablePointer<OpaquePointer?>?, _ fname: UnsafePointer<CChar>?) throws(CUDAError)
    {
        guard module != nil else { throw .invalidValue }
        // The NUL behind it lets text be read to its end.
        let bytes = try readFile(try text(fname), limit: Image.bytesMax) + [0]
        let loaded = bytes.withUnsafeBytes { bytes in
            Result { () throws(CUDAError) in
                try load(try Image.bytes(at: bytes.baseAddress), JITOptions(), in: try activeContext())
            }
        }
        try write(handle: try loaded.get().bits, to: module)
    }

    func cuModuleLoadData(_ module: UnsafeMutablePointer<OpaquePointer?>?, _ image: UnsafeRawPointer?) throws(CUDAError)
    {
        try cuModuleLoadDataEx(module, image, 0, nil, nil)
    }

    func cuModuleLoadFatBinary(
        _ module: UnsafeMutablePointer<OpaquePointer?>?, _ fatCubin: UnsafeRawPointer?
    ) throws(CUDAError) {
        try cuModuleLoadDataEx(module, fatCubin, 0, nil, nil)
    }

    func cuModuleLoadDataEx(
        _ module: UnsafeMutablePointer<OpaquePointer?>?, _ image: UnsafeRawPointer?, _ numOptions: UInt32,
        _ options: UnsafeMutablePointer<CUjit_option>?, _ optionValues: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) throws(CUDAError) {
        let active = try activeContext()
        guard module != nil else { throw .invalidValue }
        let options = try JITOptions(numOptions, options, optionValues)
        try write(handle: try load(try Image.bytes(at: image), options, in: active).bits, to: module)
    }

    func cuModuleUnload(_ hmod: OpaquePointer?) throws(CUDAError) {
        let module = try modules.object(hmod)
        guard modules.remove(module.bits) != nil else { throw .invalidHandle }
        try unload(module)
    }

    /// Loads an image into a context.
    func load(
        _ image: UnsafeRawBufferPointer, _ options: JITOptions, in active: ActiveContext
    ) throws(CUDAError) -> Module {
        var log = JITLog()
        let handle: ModuleHandle
        do throws(CUDAError) {
            handle = try driver.cuModuleLoadDataEx(
                active.handle, image: image.bytes, options: options.numbers, log: &log)
        } catch {
            options.report(log)
            throw error
        }
        options.report(log)
        return try modules.insert { bits in Module(bits: bits, handle: handle, context: active.context) }
    }

    /// Ends a module that is no longer in the table.
    func unload(_ module: Module) throws(CUDAError) {
        forgetContents(of: module)
        guard let context = try? module.context.handle else { return }
        try driver.cuModuleUnload(context, hmod: module.handle)
    }

    /// Ends the handles and addresses that belong to a module.
    func forgetContents(of module: Module) {
        let contents = module.contents.withLock { contents in
            let ended = contents
            contents = Module.Contents()
            return ended
        }
        for function in contents.functions.values { functions.remove(function.bits) }
        for global in contents.globals.values { forget(variable: global.address) }
        for reference in contents.surfaceReferences.values { surfaceReferences.remove(reference.bits) }
        for reference in contents.textureReferences.values {
            textureReferences.remove(reference.bits)
            forgetChanges(of: reference)
        }
    }

    // MARK: Functions

    func cuModuleGetFunction(
        _ hfunc: UnsafeMutablePointer<OpaquePointer?>?, _ hmod: OpaquePointer?, _ name: UnsafePointer<CChar>?
    ) throws(CUDAError) {
        guard hfunc != nil else { throw .invalidValue }
        let module = try modules.object(hmod)
        try write(handle: try function(try text(name), of: module).bits, to: hfunc)
    }

    func cuModuleGetFunctionCount(_ count: UnsafeMutablePointer<UInt32>?, _ mod: OpaquePointer?) throws(CUDAError) {
        try write(UInt32(clamping: try functionNames(of: try modules.object(mod)).count), to: count)
    }

    func cuModuleEnumerateFunctions(
        _ functions: UnsafeMutablePointer<OpaquePointer?>?, _ numFunctions: UInt32, _ mod: OpaquePointer?
    ) throws(CUDAError) {
        guard let functions else { throw .invalidValue }
        let module = try modules.object(mod)
        for (index, name) in try functionNames(of: module).prefix(Int(numFunctions)).enumerated() {
            functions[index] = OpaquePointer(bitPattern: UInt(try function(name, of: module).bits))
        }
    }

    /// A kernel of a module; the driver is asked once for each.
    func function(_ name: String, of module: Module) throws(CUDAError) -> Function {
        if let function = module.contents.withLock({ $0.functions[name] }) { return function }
        let description = try driver.cuModuleGetFunction(try module.context.handle, hmod: module.handle, name: name)
        let made = try functions.insert { bits in
            Function(bits: bits, name: name, module: module, description: description)
        }
        // Another thread may have found it meanwhile: there is one handle for each kernel.
        let kept = module.contents.withLock { contents in
            if let earlier = contents.functions[name] { return earlier }
            contents.functions[name] = made
            return made
        }
        if kept !== made { functions.remove(made.bits) }
        return kept
    }

    func allFunctions(of module: Module) throws(CUDAError) -> [Function] {
        var found: [Function] = []
        for name in try functionNames(of: module) { found.append(try function(name, of: module)) }
        return found
    }

    private func functionNames(of module: Module) throws(CUDAError) -> [String] {
        try driver.cuModuleEnumerateFunctions(try module.context.handle, hmod: module.handle)
    }

    // MARK: Variables

    func cuModuleGetGlobal_v2(
        _ dptr: UnsafeMutablePointer<CUdeviceptr>?, _ bytes: UnsafeMutablePointer<Int>?, _ hmod: OpaquePointer?,
        _ name: UnsafePointer<CChar>?
    ) throws(CUDAError) {
        let global = try global(try text(name), of: try modules.object(hmod))
        dptr?.pointee = global.address
        bytes?.pointee = global.bytes
    }

    /// A variable of a module, which from now on is memory that copies may use.
    func global(_ name: String, of module: Module) throws(CUDAError) -> (address: CUdeviceptr, bytes: Int) {
        if let global = module.contents.withLock({ $0.globals[name] }) { return global }
        let (address, bytes) = try driver.cuModuleGetGlobal_v2(
            try module.context.handle, hmod: module.handle, name: name)
        let isNew = module.contents.withLock { contents in
            contents.globals.updateValue((address, bytes), forKey: name) == nil
        }
        if isNew {
            memory.insert(
                Allocation(
                    base: address, byteCount: bytes, kind: .global, contextBits: module.context.bits,
                    device: module.context.device.ordinal, id: nextID()))
        }
        return (address, bytes)
    }
}

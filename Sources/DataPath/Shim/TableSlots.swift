// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// The addresses of the functions in ``ExportTables``.
enum TableSlots {
    private typealias Handle = OpaquePointer
    private typealias Pointer = UnsafeMutableRawPointer

    private static func address<Function>(_ function: Function) -> UInt {
        UInt(bitPattern: unsafeBitCast(function, to: UnsafeRawPointer.self))
    }

    /// Stands where no function is known.
    static var unknown: UInt {
        let function: @convention(c) () -> Int = { 0 }
        return address(function)
    }

    // MARK: Runtime

    /// The handle of a device's primary context, which stays as inactive as it is.
    static var primaryContext: UInt {
        let function: @convention(c) (UnsafeMutablePointer<Handle?>?, CUdevice) -> CUresult = { target, device in
            answer { shim throws(CUDAError) in
                let ordinal = Int(try shim.device(device).ordinal)
                try write(handle: shim.primaries[ordinal].bits, to: target)
            }
        }
        return address(function)
    }

    /// Loads a module from the wrapper that the compiler's start-up code registers.
    static var loadFromWrapper: UInt {
        let function: @convention(c) (UnsafeMutablePointer<Handle?>?, UnsafeRawPointer?) -> CUresult = {
            module, image in
            answer { shim throws(CUDAError) in try shim.cuModuleLoadFatBinary(module, image) }
        }
        return address(function)
    }

    /// The same with the container first.
    static var loadFromContainer: UInt {
        let function: @convention(c) (UnsafeRawPointer?, UnsafeMutablePointer<Handle?>?) -> CUresult = {
            image, module in
            answer { shim throws(CUDAError) in try shim.cuModuleLoadFatBinary(module, image) }
        }
        return address(function)
    }

    // MARK: Hooks of tools

    /// One 32-bit number per runtime function, read at every call: 0 while no tool listens.
    ///
    /// Counts are in elements; the largest that any runtime needs is 1024.
    private static let callHookCount = 4096
    private static let otherHookCount = 64

    /// Read by runtimes for the life of the process, and written by nobody.
    private static let hooks: UInt = {
        let hooks = UnsafeMutablePointer<UInt32>.allocate(capacity: callHookCount + otherHookCount)
        hooks.initialize(repeating: 0, count: callHookCount + otherHookCount)
        return UInt(bitPattern: hooks)
    }()

    static var callHooks: UInt {
        let function: @convention(c) (UnsafeMutablePointer<Pointer?>?, UnsafeMutablePointer<Int>?) -> Int = {
            buffer, count in
            buffer?.pointee = Pointer(bitPattern: TableSlots.hooks)
            count?.pointee = TableSlots.callHookCount
            return 0
        }
        return address(function)
    }

    static var otherHooks: UInt {
        let function: @convention(c) (UnsafeMutablePointer<Pointer?>?, UnsafeMutablePointer<Int>?) -> Int = {
            buffer, count in
            buffer?.pointee = Pointer(
                bitPattern: TableSlots.hooks + UInt(TableSlots.callHookCount * MemoryLayout<UInt32>.size))
            count?.pointee = TableSlots.otherHookCount
            return 0
        }
        return address(function)
    }

    // MARK: Contexts

    static var currentContext: UInt {
        let function: @convention(c) (UnsafeMutablePointer<Handle?>?) -> CUresult = { target in
            answer { shim throws(CUDAError) in try shim.cuCtxGetCurrent(target) }
        }
        return address(function)
    }

    static var checkContext: UInt {
        let function:
            @convention(c) (Handle?, UnsafeMutablePointer<UInt32>?, UnsafeMutablePointer<Pointer?>?) -> CUresult = {
                _, state, _ in
                state?.pointee = 0
                return CUDA_SUCCESS
            }
        return address(function)
    }

    /// A number per context that libraries use as a key of their caches.
    static var contextID: UInt {
        let function: @convention(c) (Handle?, UnsafeMutablePointer<UInt64>?) -> CUresult = { context, id in
            answer { shim throws(CUDAError) in try shim.cuCtxGetId(context, id) }
        }
        return address(function)
    }

    // MARK: Context-local storage

    static var storagePut: UInt {
        let function: @convention(c) (Handle?, Pointer?, Pointer?, ContextLocalStorage.Destructor?) -> CUresult = {
            context, key, value, destructor in
            answer { shim throws(CUDAError) in
                try shim.storage.put(
                    try shim.context(context), UInt(bitPattern: key), value: UInt(bitPattern: value),
                    destructor: destructor)
            }
        }
        return address(function)
    }

    static var storageDelete: UInt {
        let function: @convention(c) (Handle?, Pointer?) -> CUresult = { context, key in
            answer { shim throws(CUDAError) in
                guard shim.storage.delete(try shim.context(context), UInt(bitPattern: key)) else {
                    throw .invalidHandle
                }
            }
        }
        return address(function)
    }

    static var storageGet: UInt {
        let function: @convention(c) (UnsafeMutablePointer<Pointer?>?, Handle?, Pointer?) -> CUresult = {
            target, context, key in
            answer { shim throws(CUDAError) in
                guard let target, let value = shim.storage.get(try shim.context(context), UInt(bitPattern: key)) else {
                    throw .invalidHandle
                }
                target.pointee = Pointer(bitPattern: value)
            }
        }
        return address(function)
    }

    // MARK: Functions of a module

    private typealias FunctionCallback = @convention(c) (Pointer?, Handle?, Handle?) -> Void

    /// Calls back for each function of a module and returns their number.
    static var enumerateFunctions: UInt {
        let function: @convention(c) (Handle?, Handle?, FunctionCallback?, Pointer?, Handle?) -> UInt64 = {
            _, module, callback, opaque, owner in
            guard let shim = Startup.initialised?.takeUnretainedValue(), let callback else { return 0 }
            do throws(CUDAError) {
                let functions = try shim.allFunctions(of: try shim.modules.object(module))
                for function in functions { callback(opaque, OpaquePointer(bitPattern: UInt(function.bits)), owner) }
                return UInt64(functions.count)
            } catch {
                return 0
            }
        }
        return address(function)
    }

    // MARK: Integrity

    static var integrity: UInt {
        let function: @convention(c) (UInt32, UInt64, UnsafeMutablePointer<UInt64>?) -> CUresult = {
            version, seconds, target in
            answer { shim throws(CUDAError) in
                guard let target else { throw .invalidValue }
                let tables = ExportTables.shared
                let answer = Integrity.answer(
                    Integrity.Question(
                        driverVersion: UInt32(bitPattern: shim.description.version), version: version,
                        processID: UInt32(bitPattern: getpid()),
                        thread: UInt32(truncatingIfNeeded: UInt(pthread_self())),
                        runtimeTable: UInt64(tables.runtime), integrityTable: UInt64(tables.integrity),
                        integrityFunction: UInt64(tables.integrityFunction), unixSeconds: seconds),
                    devices: shim.devices)
                target[0] = answer.0
                target[1] = answer.1
            }
        }
        return address(function)
    }
}

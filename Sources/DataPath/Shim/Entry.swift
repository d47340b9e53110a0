// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// The exported functions that work before `cuInit`.
struct Entry {
    func cuInit(_ flags: UInt32) throws(CUDAError) {
        guard flags == 0 else { throw .invalidValue }
        try Startup.initialise()
    }

    func cuDriverGetVersion(_ version: UnsafeMutablePointer<Int32>?) throws(CUDAError) {
        guard let version else { throw .invalidValue }
        version.pointee = Startup.driverVersion
    }

    func cuGetErrorName(_ error: CUresult, _ name: UnsafeMutablePointer<UnsafePointer<CChar>?>?) throws(CUDAError) {
        try write(ErrorText(error)?.name, of: error, to: name)
    }

    func cuGetErrorString(_ error: CUresult, _ string: UnsafeMutablePointer<UnsafePointer<CChar>?>?) throws(CUDAError) {
        try write(ErrorText(error)?.text, of: error, to: string)
    }

    func cuModuleGetLoadingMode(_ mode: UnsafeMutablePointer<CUmoduleLoadingMode>?) throws(CUDAError) {
        let isEager = Environment.ofProcess().loadsModulesEagerly
        guard let mode else { throw .invalidValue }
        mode.pointee = isEager ? CU_MODULE_EAGER_LOADING : CU_MODULE_LAZY_LOADING
    }

    func cuGetExportTable(
        _ table: UnsafeMutablePointer<UnsafeRawPointer?>?, _ id: UnsafePointer<CUuuid>?
    ) throws(CUDAError) {
        guard let table, let id else { throw .invalidValue }
        table.pointee = nil
        guard let address = ExportTables.shared.address(of: TableID(UnsafeRawPointer(id))) else { throw .notFound }
        table.pointee = address
    }

    func cuGetProcAddress(
        _ symbol: UnsafePointer<CChar>?, _ function: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ version: Int32, _ flags: UInt64
    ) throws(CUDAError) {
        try cuGetProcAddress_v2(symbol, function, version, flags, nil)
    }

    func cuGetProcAddress_v2(
        _ symbol: UnsafePointer<CChar>?, _ function: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ version: Int32, _ flags: UInt64, _ status: UnsafeMutablePointer<CUdriverProcAddressQueryResult>?
    ) throws(CUDAError) {
        guard let symbol, let function else { throw .invalidValue }
        function.pointee = nil
        let answer = SymbolLookup.shared.find(symbol, version: version, isPerThread: flags & 2 != 0)
        status?.pointee =
            switch answer {
            case .found: CU_GET_PROC_ADDRESS_SUCCESS
            case .newer: CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
            case .unknown: CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
            }
        guard case .found(let address) = answer else { throw .notFound }
        function.pointee = UnsafeMutableRawPointer(mutating: address)
    }

    private func write(
        _ text: StaticString?, of error: CUresult, to target: UnsafeMutablePointer<UnsafePointer<CChar>?>?
    ) throws(CUDAError) {
        guard let target else { throw .invalidValue }
        target.pointee = text.map { UnsafeRawPointer($0.utf8Start).assumingMemoryBound(to: CChar.self) }
        if text == nil { throw .invalidValue }
    }
}

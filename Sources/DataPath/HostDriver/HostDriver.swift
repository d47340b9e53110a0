// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Glibc
import Synchronization

/// The driver of this machine: a libcuda.so.1 that is opened by its path, NVIDIA's or the software GPU's.
///
/// The context of each call is made current on the calling thread first, if it is not already. NVIDIA's driver must be
/// of CUDA 12.4 or later, which can tell a kernel's parameter layout.
package final class HostDriver: Driver {
    let functions: HostFunctions
    let more: MoreHostFunctions
    let pools: HostPoolFunctions
    let multicast: HostMulticastFunctions
    let graphFunctions: HostGraphFunctions
    /// By the driver's executable graph.
    let graphs = Mutex<[UInt64: HostGraph]>([:])
    /// By the driver's graph.
    let drafts = Mutex<[UInt64: HostDraft]>([:])
    let textures: TextureFunctions
    let tensorMaps: TensorMapFunctions
    let references: ReferenceFunctions
    let resourceFunctions: HostResourceFunctions
    let resources = Mutex(ResourceTable())
    private let currentContext: pthread_key_t
    /// Descriptors of memory that other workers of the machine may import.
    let descriptors = DescriptorExchange()

    /// Opens and initialises a driver.
    package init(path: String) throws(DriverLoadFailure) {
        let library = try DriverLibrary(path: path)
        textures = TextureFunctions(library)
        tensorMaps = TensorMapFunctions(library)
        references = ReferenceFunctions(library)
        resourceFunctions = HostResourceFunctions(library)
        functions = HostFunctions(library)
        more = MoreHostFunctions(library)
        pools = HostPoolFunctions(library)
        multicast = HostMulticastFunctions(library)
        graphFunctions = HostGraphFunctions(library)
        var key = pthread_key_t()
        guard pthread_key_create(&key, nil) == 0 else { throw DriverLoadFailure("no thread-local storage is left") }
        currentContext = key
        guard let cuInit = more.cuInit, let version = more.cuDriverGetVersion else {
            throw DriverLoadFailure("\(path) is not a CUDA driver: it has no cuInit")
        }
        let code = cuInit(0)
        guard code == CUDA_SUCCESS else {
            throw DriverLoadFailure("the CUDA driver \(path) does not start: \(errorName(code))")
        }
        var number: Int32 = 0
        guard version(&number) == CUDA_SUCCESS, number >= 12040 else {
            throw DriverLoadFailure(
                "the CUDA driver \(path) is of version \(number / 1000).\(number % 1000 / 10); 12.4 or later is needed")
        }
    }

    /// Makes a context current on the calling thread.
    func makeCurrent(_ context: ContextHandle) throws(CUDAError) {
        let wanted = UnsafeMutableRawPointer(bitPattern: UInt(context.bits))
        if pthread_getspecific(currentContext) == wanted { return }
        guard let function = more.cuCtxSetCurrent else { throw .notSupported }
        try check(function(context.bits))
        pthread_setspecific(currentContext, wanted)
    }

    /// Forgets what is current, after a context ended.
    func forgetCurrent() { pthread_setspecific(currentContext, nil) }

    /// The driver's own name of a result code.
    private func errorName(_ code: CUresult) -> String {
        var name: UnsafePointer<CChar>?
        guard let function = more.cuGetErrorName, function(code, &name) == CUDA_SUCCESS, let name else {
            return "error \(code.rawValue)"
        }
        return String(cString: name)
    }

    package func describe() throws(CUDAError) -> DriverDescription {
        guard let versionOf = more.cuDriverGetVersion, let countDevices = more.cuDeviceGetCount else {
            throw .notSupported
        }
        var version: Int32 = 0
        var count: Int32 = 0
        try check(versionOf(&version))
        try check(countDevices(&count))
        var devices: [DeviceDescription] = []
        for device in 0..<count { devices.append(try describe(device, of: count)) }
        return DriverDescription(version: version, devices: devices)
    }

    private func describe(_ device: Int32, of count: Int32) throws(CUDAError) -> DeviceDescription {
        guard let nameOf = more.cuDeviceGetName, let uuidOf = more.cuDeviceGetUuid, let totalOf = more.cuDeviceTotalMem,
            let attributeOf = more.cuDeviceGetAttribute
        else { throw .notSupported }
        var name = [CChar](repeating: 0, count: 256)
        try check(nameOf(&name, Int32(name.count), device))
        var uuid = CUuuid()
        try check(uuidOf(&uuid, device))
        var totalBytes = 0
        try check(totalOf(&totalBytes, device))
        var attributes = [Int32](repeating: 0, count: DeviceDescription.attributeCount)
        for number in 1..<attributes.count {
            var value: Int32 = 0
            // A number that the driver does not know stays 0, as clients read it from an older driver.
            if attributeOf(&value, UInt32(number), device) == CUDA_SUCCESS { attributes[number] = value }
        }
        let peers = (0..<count).map { other in
            var can: Int32 = 0
            guard other != device, let function = more.cuDeviceCanAccessPeer else { return false }
            return function(&can, device, other) == CUDA_SUCCESS && can != 0
        }
        return DeviceDescription(
            name: name.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" },
            uuid: withUnsafeBytes(of: uuid) { Array($0) }, totalBytes: totalBytes, attributes: attributes,
            canAccessPeer: peers, leastPriority: 0,
            // Drivers offer priorities 0 to -5 since compute capability 3.5; asking needs a context.
            greatestPriority: -5)
    }
}

/// The functions that the printed half does not have.
struct MoreHostFunctions: Sendable {
    let cuInit: (@convention(c) (UInt32) -> CUresult)?
    let cuGetErrorName: (@convention(c) (CUresult, UnsafeMutablePointer<UnsafePointer<CChar>?>?) -> CUresult)?
    let cuDriverGetVersion: (@convention(c) (UnsafeMutablePointer<Int32>?) -> CUresult)?
    let cuDeviceGetCount: (@convention(c) (UnsafeMutablePointer<Int32>?) -> CUresult)?
    let cuDeviceGetName: (@convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32) -> CUresult)?
    let cuDeviceGetUuid: (@convention(c) (UnsafeMutablePointer<CUuuid>?, Int32) -> CUresult)?
    let cuDeviceTotalMem: (@convention(c) (UnsafeMutablePointer<Int>?, Int32) -> CUresult)?
    let cuDeviceGetAttribute: (@convention(c) (UnsafeMutablePointer<Int32>?, UInt32, Int32) -> CUresult)?
    let cuDeviceCanAccessPeer: (@convention(c) (UnsafeMutablePointer<Int32>?, Int32, Int32) -> CUresult)?
    let cuCtxSetCurrent: (@convention(c) (UInt64) -> CUresult)?
    let cuDevicePrimaryCtxRelease: (@convention(c) (Int32) -> CUresult)?
    let cuCtxCreate: (@convention(c) (UnsafeMutablePointer<UInt64>?, UInt32, Int32) -> CUresult)?
    let cuCtxPopCurrent: (@convention(c) (UnsafeMutablePointer<UInt64>?) -> CUresult)?
    let cuCtxDestroy: (@convention(c) (UInt64) -> CUresult)?
    let cuModuleLoadDataEx:
        (
            @convention(c) (
                UnsafeMutablePointer<UInt64>?, UnsafeRawPointer?, UInt32, UnsafeMutablePointer<UInt32>?,
                UnsafeMutablePointer<UnsafeMutableRawPointer?>?
            ) -> CUresult
        )?
    let cuModuleGetFunction:
        (@convention(c) (UnsafeMutablePointer<UInt64>?, UInt64, UnsafePointer<CChar>?) -> CUresult)?
    let cuModuleGetFunctionCount: (@convention(c) (UnsafeMutablePointer<UInt32>?, UInt64) -> CUresult)?
    let cuModuleEnumerateFunctions: (@convention(c) (UnsafeMutablePointer<UInt64>?, UInt32, UInt64) -> CUresult)?
    let cuFuncGetName: (@convention(c) (UnsafeMutablePointer<UnsafePointer<CChar>?>?, UInt64) -> CUresult)?
    let cuFuncGetParamInfo:
        (@convention(c) (UInt64, Int, UnsafeMutablePointer<Int>?, UnsafeMutablePointer<Int>?) -> CUresult)?
    let cuLinkCreate:
        (
            @convention(c) (
                UInt32, UnsafeMutablePointer<UInt32>?, UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
                UnsafeMutablePointer<UInt64>?
            ) -> CUresult
        )?
    let cuLinkAddData:
        (
            @convention(c) (
                UInt64, UInt32, UnsafeMutableRawPointer?, Int, UnsafePointer<CChar>?, UInt32,
                UnsafeMutablePointer<UInt32>?,
                UnsafeMutablePointer<UnsafeMutableRawPointer?>?
            ) -> CUresult
        )?
    let cuLinkComplete:
        (
            @convention(c) (UInt64, UnsafeMutablePointer<UnsafeMutableRawPointer?>?, UnsafeMutablePointer<Int>?) ->
                CUresult
        )?
    let cuLinkDestroy: (@convention(c) (UInt64) -> CUresult)?
    typealias ClusterQuestion =
        @convention(c) (UnsafeMutablePointer<Int32>?, UInt64, UnsafePointer<CUlaunchConfig>?) -> CUresult
    let cuOccupancyMaxActiveClusters: ClusterQuestion?
    let cuOccupancyMaxPotentialClusterSize: ClusterQuestion?
    let cuLaunchKernelEx:
        (
            @convention(c) (
                UnsafePointer<CUlaunchConfig>?, UInt64, UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
                UnsafeMutablePointer<UnsafeMutableRawPointer?>?
            ) -> CUresult
        )?
    let cuLaunchKernel:
        (
            @convention(c) (
                UInt64, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt64,
                UnsafeMutablePointer<UnsafeMutableRawPointer?>?, UnsafeMutablePointer<UnsafeMutableRawPointer?>?
            ) -> CUresult
        )?
    let cuLaunchHostFunc:
        (
            @convention(c) (
                UInt64, (@convention(c) (UnsafeMutableRawPointer?) -> Void)?, UnsafeMutableRawPointer?
            ) -> CUresult
        )?
    let cuMemAllocHost: (@convention(c) (UnsafeMutablePointer<UnsafeMutableRawPointer?>?, Int) -> CUresult)?
    let cuMemFreeHost: (@convention(c) (UnsafeMutableRawPointer?) -> CUresult)?
    let cuMemcpyDtoH: (@convention(c) (UnsafeMutableRawPointer?, CUdeviceptr, Int) -> CUresult)?
    let cuMemcpyDtoHAsync: (@convention(c) (UnsafeMutableRawPointer?, CUdeviceptr, Int, UInt64) -> CUresult)?
    let cuMemcpy3DAsync: (@convention(c) (UnsafePointer<CUDA_MEMCPY3D>?, UInt64) -> CUresult)?
    let cuMemCreate:
        (
            @convention(c) (
                UnsafeMutablePointer<CUmemGenericAllocationHandle>?, Int, UnsafePointer<CUmemAllocationProp>?, UInt64
            ) -> CUresult
        )?
    let cuMemRelease: (@convention(c) (CUmemGenericAllocationHandle) -> CUresult)?
    let cuMemSetAccess: (@convention(c) (CUdeviceptr, Int, UnsafePointer<CUmemAccessDesc>?, Int) -> CUresult)?
    let cuMemGetAllocationGranularity:
        (@convention(c) (UnsafeMutablePointer<Int>?, UnsafePointer<CUmemAllocationProp>?, UInt32) -> CUresult)?
    let cuMemExportToShareableHandle:
        (@convention(c) (UnsafeMutableRawPointer?, CUmemGenericAllocationHandle, UInt32, UInt64) -> CUresult)?
    let cuMemImportFromShareableHandle:
        (
            @convention(c) (
                UnsafeMutablePointer<CUmemGenericAllocationHandle>?, UnsafeMutableRawPointer?, UInt32
            ) -> CUresult
        )?
    let cuIpcGetMemHandle: (@convention(c) (UnsafeMutablePointer<CUipcMemHandle>?, CUdeviceptr) -> CUresult)?
    let cuIpcOpenMemHandle: (@convention(c) (UnsafeMutablePointer<CUdeviceptr>?, CUipcMemHandle, UInt32) -> CUresult)?
    let cuMemGetAddressRange:
        (@convention(c) (UnsafeMutablePointer<CUdeviceptr>?, UnsafeMutablePointer<Int>?, CUdeviceptr) -> CUresult)?
    let cuIpcGetEventHandle: (@convention(c) (UnsafeMutablePointer<CUipcEventHandle>?, UInt64) -> CUresult)?
    let cuIpcOpenEventHandle: (@convention(c) (UnsafeMutablePointer<UInt64>?, CUipcEventHandle) -> CUresult)?
    let cuStreamBatchMemOp:
        (@convention(c) (UInt64, UInt32, UnsafeMutablePointer<CUstreamBatchMemOpParams>?, UInt32) -> CUresult)?
    let cuStreamSetAttribute: (@convention(c) (UInt64, UInt32, UnsafeRawPointer?) -> CUresult)?
    let cuMemPoolCreate: (@convention(c) (UnsafeMutablePointer<UInt64>?, UnsafePointer<CUmemPoolProps>?) -> CUresult)?
    let cuMemPoolSetAttribute: (@convention(c) (UInt64, UInt32, UnsafeMutableRawPointer?) -> CUresult)?
    let cuMemPoolGetAttribute: (@convention(c) (UInt64, UInt32, UnsafeMutableRawPointer?) -> CUresult)?

    init(_ library: borrowing DriverLibrary) {
        cuInit = library.function("cuInit")
        cuGetErrorName = library.function("cuGetErrorName")
        cuDriverGetVersion = library.function("cuDriverGetVersion")
        cuDeviceGetCount = library.function("cuDeviceGetCount")
        cuDeviceGetName = library.function("cuDeviceGetName")
        cuDeviceGetUuid = library.function("cuDeviceGetUuid_v2")
        cuDeviceTotalMem = library.function("cuDeviceTotalMem_v2")
        cuDeviceGetAttribute = library.function("cuDeviceGetAttribute")
        cuDeviceCanAccessPeer = library.function("cuDeviceCanAccessPeer")
        cuCtxSetCurrent = library.function("cuCtxSetCurrent")
        cuDevicePrimaryCtxRelease = library.function("cuDevicePrimaryCtxRelease_v2")
        cuCtxCreate = library.function("cuCtxCreate_v2")
        cuCtxPopCurrent = library.function("cuCtxPopCurrent_v2")
        cuCtxDestroy = library.function("cuCtxDestroy_v2")
        cuModuleLoadDataEx = library.function("cuModuleLoadDataEx")
        cuModuleGetFunction = library.function("cuModuleGetFunction")
        cuModuleGetFunctionCount = library.function("cuModuleGetFunctionCount")
        cuModuleEnumerateFunctions = library.function("cuModuleEnumerateFunctions")
        cuFuncGetName = library.function("cuFuncGetName")
        cuFuncGetParamInfo = library.function("cuFuncGetParamInfo")
        cuLinkCreate = library.function("cuLinkCreate_v2")
        cuLinkAddData = library.function("cuLinkAddData_v2")
        cuLinkComplete = library.function("cuLinkComplete")
        cuLinkDestroy = library.function("cuLinkDestroy")
        cuOccupancyMaxActiveClusters = library.function("cuOccupancyMaxActiveClusters")
        cuOccupancyMaxPotentialClusterSize = library.function("cuOccupancyMaxPotentialClusterSize")
        cuLaunchKernelEx = library.function("cuLaunchKernelEx")
        cuLaunchKernel = library.function("cuLaunchKernel")
        cuLaunchHostFunc = library.function("cuLaunchHostFunc")
        cuMemAllocHost = library.function("cuMemAllocHost_v2")
        cuMemFreeHost = library.function("cuMemFreeHost")
        cuMemcpyDtoH = library.function("cuMemcpyDtoH_v2")
        cuMemcpyDtoHAsync = library.function("cuMemcpyDtoHAsync_v2")
        cuMemcpy3DAsync = library.function("cuMemcpy3DAsync_v2")
        cuMemCreate = library.function("cuMemCreate")
        cuMemRelease = library.function("cuMemRelease")
        cuMemSetAccess = library.function("cuMemSetAccess")
        cuMemGetAllocationGranularity = library.function("cuMemGetAllocationGranularity")
        cuMemExportToShareableHandle = library.function("cuMemExportToShareableHandle")
        cuMemImportFromShareableHandle = library.function("cuMemImportFromShareableHandle")
        cuIpcGetMemHandle = library.function("cuIpcGetMemHandle")
        cuIpcOpenMemHandle = library.function("cuIpcOpenMemHandle_v2")
        cuMemGetAddressRange = library.function("cuMemGetAddressRange_v2")
        cuIpcGetEventHandle = library.function("cuIpcGetEventHandle")
        cuIpcOpenEventHandle = library.function("cuIpcOpenEventHandle")
        cuStreamBatchMemOp = library.function("cuStreamBatchMemOp_v2")
        cuStreamSetAttribute = library.function("cuStreamSetAttribute")
        cuMemPoolCreate = library.function("cuMemPoolCreate")
        cuMemPoolSetAttribute = library.function("cuMemPoolSetAttribute")
        cuMemPoolGetAttribute = library.function("cuMemPoolGetAttribute")
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Glibc
import KernelCompiler
import Synchronization
package import UsageBoard

/// A CUDA driver whose GPUs are software: kernels arrive as PTX, are compiled for the processor, and run on its cores.
///
/// A device address is an address of this process. Everything that an application can get wrong is checked here before
/// memory is touched; what kernels get wrong faults, is caught, and ends their context.
package final class SoftGPU: Driver {
    let devices: [Device]
    let scheduler = StreamScheduler()
    let memoryMap = MemoryMap()
    let contexts = HandleTable<Context>(.context)
    let modules = HandleTable<Module>(.module)
    let functions = HandleTable<Function>(.function)
    let streams = HandleTable<Stream>(.stream)
    let events = HandleTable<Event>(.event)
    let pools = HandleTable<MemoryPool>(.pool)
    let physicalMemory = HandleTable<PhysicalMemory>(.physicalMemory)
    let virtualMemory = VirtualMemory()
    let imports = Mutex<[ShareableHandle: Import]>([:])
    let graphs = HandleTable<PlannedGraph>(.graph)
    let graphDrafts = HandleTable<GraphDraft>(.graphDraft)
    let arrays = HandleTable<ArrayMemory>(.array)
    let mipmappedArrays = HandleTable<MipmappedArrayMemory>(.mipmappedArray)
    let images = ImageList()
    let greenContexts = HandleTable<GreenContext>(.greenContext)
    let multiprocessors = Mutex(MultiprocessorTable())
    private let processors: Int
    private let kernelExecutor = Mutex<KernelExecutor?>(nil)

    /// Reserves the devices' addresses.
    ///
    /// CUDA_ERROR_OUT_OF_MEMORY when the process may not have them. `usage` is told what this process does on them.
    package init(
        _ configuration: SoftGPUConfiguration = SoftGPUConfiguration(), usage: ProcessUsage? = nil
    ) throws(CUDAError) {
        processors = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        var devices: [Device] = []
        for ordinal in 0..<configuration.deviceCount {
            let profile = DeviceProfile(
                ordinal: ordinal, name: configuration.name, totalBytes: configuration.memoryMiB << 20,
                multiprocessors: processors, capabilityMajor: configuration.capabilityMajor,
                capabilityMinor: configuration.capabilityMinor)
            let reserved = DeviceMemory(
                ordinal: ordinal, totalBytes: profile.totalBytes, deviceCount: configuration.deviceCount,
                usage: usage?.devices[ordinal])
            guard let memory = reserved else { throw .outOfMemory }
            let pool = try pools.insert { bits in
                MemoryPool(bits: bits, device: ordinal, isDefault: true, memory: memory, maxBytes: 0)
            }
            devices.append(
                Device(
                    ordinal: ordinal, profile: profile, memory: memory, defaultPool: pool,
                    usage: usage?.devices[ordinal]))
        }
        self.devices = devices
    }

    deinit { scheduler.stop() }

    package func describe() throws(CUDAError) -> DriverDescription {
        DriverDescription(
            version: DeviceProfile.driverVersion,
            devices: devices.map { device in
                DeviceDescription(
                    name: device.profile.name, uuid: device.profile.uuid, totalBytes: device.profile.totalBytes,
                    attributes: device.profile.attributes, canAccessPeer: devices.map { $0 !== device },
                    leastPriority: DeviceProfile.leastPriority, greatestPriority: DeviceProfile.greatestPriority)
            })
    }

    /// The threads that run kernels, for all devices; started with the first module.
    var executor: KernelExecutor {
        kernelExecutor.withLock { executor in
            if let executor { return executor }
            let made = KernelExecutor(threads: processors)
            executor = made
            return made
        }
    }

    // MARK: Handles

    func device(_ ordinal: Int32) throws(CUDAError) -> Device {
        guard devices.indices.contains(Int(ordinal)) else { throw .invalidDevice }
        return devices[Int(ordinal)]
    }

    /// The context, unless one of its kernels has failed: then every call but its end throws that failure.
    func context(_ handle: ContextHandle) throws(CUDAError) -> Context {
        let context = try contextInAnyState(handle)
        try context.checkHealth()
        return context
    }

    func contextInAnyState(_ handle: ContextHandle) throws(CUDAError) -> Context {
        guard let context = contexts[handle.bits] else { throw .invalidContext }
        return context
    }

    func stream(_ handle: StreamHandle, in context: Context) throws(CUDAError) -> Stream {
        if handle == .legacyDefault { return context.legacyStream }
        guard let stream = streams[handle.bits], stream.context == context.bits else { throw .invalidHandle }
        if let green = stream.greenContext, greenContexts[green.bits] == nil {
            throw CUDAError(CUDA_ERROR_STREAM_DETACHED)
        }
        return stream
    }

    func event(_ handle: EventHandle) throws(CUDAError) -> Event {
        guard let event = events[handle.bits] else { throw .invalidHandle }
        return event
    }

    func module(_ handle: ModuleHandle, in context: Context) throws(CUDAError) -> Module {
        guard let module = modules[handle.bits], module.context == context.bits else { throw .invalidHandle }
        return module
    }

    func function(_ handle: FunctionHandle, in context: Context) throws(CUDAError) -> Function {
        guard let function = functions[handle.bits], function.module.context == context.bits else {
            throw .invalidHandle
        }
        return function
    }

    func pool(_ handle: MemoryPoolHandle) throws(CUDAError) -> MemoryPool {
        guard let pool = pools[handle.bits] else { throw .invalidHandle }
        return pool
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import ProgramImage
import Synchronization

/// Everything between the exported C functions and a ``Driver``: it answers what it knows, keeps the application's
/// handles and addresses, checks what CUDA checks at once, and passes the rest on.
///
/// The methods with CUDA's names are the exported functions; see the extensions, one per family. No lock is held while
/// the driver is called, except where noted that every waiting thread needs the same outcome.
final class Shim: Sendable {
    let driver: any Driver & AnyObject
    let description: DriverDescription
    let isLaunchBlocking: Bool
    /// CUDA_MODULE_LOADING=EAGER: libraries are loaded into contexts before anything of them is needed.
    let loadsModulesEagerly: Bool
    /// What of a fat binary the devices can use.
    let codeSelection: CodeSelection
    /// The devices that the application sees, by its ordinals.
    let devices: [Device]
    /// The primary context of each device, by the application's ordinals.
    let primaries: [Context]

    let contexts = HandleTable<Context>(.context)
    let modules = HandleTable<Module>(.module)
    let functions = HandleTable<Function>(.function)
    let libraries = HandleTable<Library>(.library)
    let kernels = HandleTable<Kernel>(.kernel)
    let streams = HandleTable<Stream>(.stream)
    let events = HandleTable<Event>(.event)
    let pools = HandleTable<Pool>(.pool)
    let links = HandleTable<Link>(.link)
    /// The default pools of what is not a device's, and those that the application has put in their place.
    let clientPools = Mutex<[ClientPool.Place: ClientPools]>([:])
    let pendingFrees = Mutex<[PendingFree]>([])
    /// How many there are, for a look that costs nothing.
    let pendingFreeCount = Atomic(0)
    /// Where memory of other processes' pools is open.
    let poolImports = Mutex<[ShareableHandle: CUdeviceptr]>([:])
    let physicalMemory = HandleTable<PhysicalMemory>(.physicalMemory)
    let virtualMemory = Mutex(VirtualMemory())
    let graphs = HandleTable<Graph>(.graph)
    let graphNodes = HandleTable<GraphNode>(.graphNode)
    let executableGraphs = HandleTable<ExecutableGraph>(.executableGraph)
    let greenContexts = HandleTable<GreenContext>(.greenContext)
    let resourceDescriptors = HandleTable<ResourceDescriptor>(.resourceDescriptor)
    let notifications = HandleTable<AsyncNotification>(.notification)
    let userObjects = HandleTable<UserObject>(.userObject)
    let graphMemory = Mutex(GraphMemory())
    let lastGraphID = Atomic<UInt32>(0)

    let captures = Mutex(Captures())
    /// Captures that forbid calls which may wait for all streams; launches look at the next one only.
    let prohibitingCaptures = Atomic<Int>(0)
    /// Captured streams that wait for a legacy default stream.
    let blockingCaptures = Atomic<Int>(0)
    let arrays = HandleTable<DeviceArray>(.array)
    let mipmappedArrays = HandleTable<MipmappedArray>(.mipmappedArray)
    /// The application's texture and surface objects, which are the driver's values.
    let textures = Mutex<[ObjectKey: TextureObject]>([:])
    let surfaces = Mutex<[ObjectKey: SurfaceObject]>([:])
    let tensorMaps = Mutex(TensorMapCache())
    let textureReferences = HandleTable<TextureReference>(.textureReference)
    let surfaceReferences = HandleTable<SurfaceReference>(.surfaceReference)
    /// References that were changed since a launch; launches look at their number only.
    let changedReferences = Mutex<[UInt64: TextureReference]>([:])
    let changedReferenceCount = Atomic<Int>(0)

    let storage = ContextLocalStorage()
    let memory: AddressMap
    /// Memory that host and devices use by turns, where devices are in another process.
    let shared: SharedMemory
    /// What the application has advised for managed memory, by the allocation's number.
    let memoryAdvice = Mutex<[UInt64: MemoryAdvice]>([:])
    private let lastID = Atomic<UInt64>(0)

    init(_ source: DriverSource, description: DriverDescription, environment: Environment) {
        driver = source.driver
        self.description = description
        isLaunchBlocking = environment.isLaunchBlocking
        loadsModulesEagerly = environment.loadsModulesEagerly
        codeSelection = CodeSelection(description, compilation: .ofProcess())
        devices = visibleDevices(
            description.devices, environment.visibleDevices, order: environment.deviceOrder)
        memory = AddressMap(reservesAddresses: source.hasRemoteMemory)
        shared = SharedMemory(source.driver)
        let contexts = contexts
        primaries = devices.compactMap { device in
            // The table is empty here: it cannot be full.
            try? contexts.insert { bits in
                Context(bits: bits, id: UInt64(device.ordinal) + 1, device: device, isPrimary: true, flags: 0)
            }
        }
        lastID.store(UInt64(devices.count), ordering: .relaxed)
    }

    /// A number that no other object of the process has.
    func nextID() -> UInt64 { lastID.add(1, ordering: .relaxed).newValue }

    /// A device by the application's ordinal.
    func device(_ ordinal: CUdevice) throws(CUDAError) -> Device {
        guard devices.indices.contains(Int(ordinal)) else { throw .invalidDevice }
        return devices[Int(ordinal)]
    }

    /// The calling thread's current context, active or not; nil without one.
    var currentContext: Context? { ThreadState.current.pointee.contexts.last }

    /// The client's and the driver's handle of the context in which a call of this thread runs, and its default stream.
    @inline(__always)
    func currentHandles() throws(CUDAError) -> (bits: UInt64, handle: ContextHandle, defaultStream: StreamHandle) {
        guard let current = ThreadState.current.pointee.current else { throw .invalidContext }
        let (bits, active, stream) = current._withUnsafeGuaranteedRef {
            ($0.homeBits, $0.activeBits, $0.defaultStream)
        }
        guard active != 0 else { throw inactive(current.takeUnretainedValue()) }
        return (bits, ContextHandle(bits: active), stream)
    }

    private func inactive(_ context: Context) -> CUDAError {
        context.isDestroyed ? .contextIsDestroyed : .invalidContext
    }

    /// The context in which a call of this thread runs.
    ///
    /// In a green context that is the primary context, which owns what is made there.
    func activeContext() throws(CUDAError) -> ActiveContext {
        guard let context = currentContext else { throw .invalidContext }
        return try ActiveContext(context)
    }

    /// A context by its handle; NULL means the current one.
    func context(_ handle: OpaquePointer?) throws(CUDAError) -> Context {
        guard let handle else {
            guard let context = currentContext else { throw .invalidContext }
            return context
        }
        guard let context = contexts[bits(handle)] else { throw .invalidContext }
        return context
    }
}

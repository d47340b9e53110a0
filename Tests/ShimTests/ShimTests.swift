// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization
import Testing

@testable import Shim

/// A shim on a driver that only writes down what it is asked.
///
/// Each test runs on a thread of its own, because the stack of contexts belongs to a thread.
struct Harness: @unchecked Sendable {
    let driver = FakeDriver()
    let shim: Shim

    init(
        remoteMemory: Bool = false, visibleDevices: String? = nil, isLaunchBlocking: Bool = false,
        loadsModulesEagerly: Bool = false, description: DriverDescription = FakeDriver.description
    ) {
        shim = Shim(
            DriverSource(driver, hasRemoteMemory: remoteMemory), description: description,
            environment: Environment(
                visibleDevices: visibleDevices, isLaunchBlocking: isLaunchBlocking,
                loadsModulesEagerly: loadsModulesEagerly))
    }

    /// Runs a test on a new thread, optionally with device 0's primary context current.
    func run(inContext: Bool = true, _ body: @escaping @Sendable (Harness) throws -> Void) throws {
        final class Job: @unchecked Sendable {
            var result: Result<Void, any Error> = .success(())
            var work: () throws -> Void = {}
        }
        let job = Job()
        job.work = {
            if inContext { _ = try enterPrimary(0) }
            _ = driver.takeCalls()
            try body(self)
        }
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let job = Unmanaged<Job>.fromOpaque(argument).takeUnretainedValue()
                job.result = Result { try job.work() }
                return nil
            }, Unmanaged.passUnretained(job).toOpaque())
        pthread_join(thread, nil)
        try job.result.get()
    }

    func enterPrimary(_ device: Int32) throws -> OpaquePointer? {
        var context: OpaquePointer?
        try shim.cuDevicePrimaryCtxRetain(&context, device)
        try shim.cuCtxSetCurrent(context)
        return context
    }

    func allocate(_ byteCount: Int) throws -> CUdeviceptr {
        var address: CUdeviceptr = 0
        try shim.cuMemAlloc_v2(&address, byteCount)
        return address
    }

    func kernel() throws -> OpaquePointer? {
        var module: OpaquePointer?
        var function: OpaquePointer?
        try shim.cuModuleLoadData(&module, ".version 7.0")
        try shim.cuModuleGetFunction(&function, module, "kernel")
        return function
    }

    /// The error that a call throws.
    func code(_ body: () throws(CUDAError) -> Void) -> CUresult {
        do throws(CUDAError) {
            try body()
            return CUDA_SUCCESS
        } catch {
            return error.code
        }
    }
}

/// The text before the NUL in a buffer.
private func string(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

@Suite struct DeviceTests {
    @Test func showsAllDevices() throws {
        let shim = Harness().shim
        var count: Int32 = 0
        try shim.cuDeviceGetCount(&count)
        #expect(count == 2)
        var text = [CChar](repeating: 1, count: 16)
        try shim.cuDeviceGetPCIBusId(&text, 16, 1)
        #expect(string(text) == "0000:11:00.0")
        try shim.cuDeviceGetName(&text, 4, 0)
        #expect(string(text) == "Fak")
    }

    @Test(arguments: [
        ("1", [1]), ("1,0", [1, 0]), ("0,7,1", [0]), ("", []), ("-1", []), ("1,1", []),
        ("GPU-02020202", [1]), ("GPU-01010101-0101-0101-0101-010101010101,1", [0, 1]),
    ])
    func honoursTheListOfVisibleDevices(list: String, expected: [Int32]) {
        #expect(Harness(visibleDevices: list).shim.devices.map(\.driverOrdinal) == expected)
    }

    @Test func findsADeviceByItsBus() throws {
        let harness = Harness()
        var device: CUdevice = -1
        try harness.shim.cuDeviceGetByPCIBusId(&device, "0000:11:00.0")
        #expect(device == 1)
        #expect(
            harness.code { () throws(CUDAError) in try harness.shim.cuDeviceGetByPCIBusId(&device, "zz") }
                == CUDA_ERROR_INVALID_VALUE)
        #expect(
            harness.code { () throws(CUDAError) in try harness.shim.cuDeviceGet(&device, 2) }
                == CUDA_ERROR_INVALID_DEVICE)
    }
}

@Suite struct ContextTests {
    @Test func aPrimaryContextHasItsHandleBeforeItIsActive() throws {
        try Harness().run(inContext: false) { harness in
            let shim = harness.shim
            let handle = OpaquePointer(bitPattern: UInt(shim.primaries[0].bits))
            try shim.cuCtxSetCurrent(handle)
            #expect(harness.driver.takeCalls().isEmpty)
            var active: Int32 = 7
            var flags: UInt32 = 0
            try shim.cuDevicePrimaryCtxGetState(0, &flags, &active)
            #expect(active == 0)
            #expect(harness.code { () throws(CUDAError) in try shim.cuCtxSynchronize() } == CUDA_ERROR_INVALID_CONTEXT)
            var retained: OpaquePointer?
            try shim.cuDevicePrimaryCtxRetain(&retained, 0)
            try shim.cuDevicePrimaryCtxRetain(&retained, 0)
            #expect(retained == handle)
            try shim.cuCtxSynchronize()
            try shim.cuDevicePrimaryCtxRelease_v2(0)
            try shim.cuDevicePrimaryCtxRelease_v2(0)
            #expect(harness.driver.takeCalls() == ["retain 0", "synchronize", "release 0"])
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuDevicePrimaryCtxRelease_v2(0) }
                    == CUDA_ERROR_INVALID_CONTEXT)
        }
    }

    @Test func stacksContextsPerThread() throws {
        try Harness().run(inContext: false) { harness in
            let shim = harness.shim
            var first: OpaquePointer?
            var second: OpaquePointer?
            var current: OpaquePointer?
            try shim.cuCtxCreate_v2(&first, 0, 0)
            try shim.cuCtxCreate_v2(&second, 0, 1)
            try shim.cuCtxGetCurrent(&current)
            #expect(current == second)
            try shim.cuCtxDestroy_v2(second)
            try shim.cuCtxGetCurrent(&current)
            #expect(current == first)
            try shim.cuCtxPopCurrent_v2(&current)
            #expect(current == first)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuCtxPopCurrent_v2(nil) } == CUDA_ERROR_INVALID_CONTEXT)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuCtxSetCurrent(second) } == CUDA_ERROR_INVALID_CONTEXT)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuCtxSetCurrent(OpaquePointer(bitPattern: 8)) }
                    == CUDA_ERROR_INVALID_CONTEXT)
        }
    }

    @Test func aResetEndsWhatLivedInTheContext() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let function = try harness.kernel()
            var stream: OpaquePointer?
            try shim.cuStreamCreate(&stream, 0)
            let address = try harness.allocate(100)
            try shim.cuDevicePrimaryCtxReset_v2(0)
            _ = try harness.enterPrimary(0)
            #expect(harness.code { () throws(CUDAError) in try shim.cuFuncLoad(function) } == CUDA_ERROR_INVALID_HANDLE)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuStreamSynchronize(stream, defaultStream: .legacy) }
                    == CUDA_ERROR_INVALID_HANDLE)
            #expect(harness.code { () throws(CUDAError) in try shim.cuMemFree_v2(address) } == CUDA_ERROR_INVALID_VALUE)
        }
    }

    @Test func endsTheValuesOfAContextInTheirOrder() throws {
        try Harness().run { harness in
            let storage = harness.shim.storage
            let context = harness.shim.primaries[0]
            let ended = UnsafeMutablePointer<UInt>.allocate(capacity: 4)
            ended.initialize(repeating: 0, count: 4)
            defer { ended.deallocate() }
            // The value says where to note the key.
            for key in [UInt(3), 1, 2] {
                try storage.put(context, key, value: UInt(bitPattern: ended)) { _, key, value in
                    let ended = value!.assumingMemoryBound(to: UInt.self)
                    ended[0] += 1
                    ended[Int(ended[0])] = UInt(bitPattern: key)
                }
            }
            #expect(storage.get(context, 1) == UInt(bitPattern: ended))
            #expect(storage.get(context, 9) == nil)
            #expect(storage.delete(context, 1))
            #expect(!storage.delete(context, 1))
            try harness.shim.cuDevicePrimaryCtxReset_v2(0)
            #expect((0..<4).map { ended[$0] } == [2, 3, 2, 0])
            #expect(storage.get(context, 3) == nil)
        }
    }
}

@Suite struct LaunchTests {
    @Test func packsParametersByTheKernelsLayout() throws {
        try Harness().run { harness in
            let function = try harness.kernel()
            _ = harness.driver.takeCalls()
            var first: UInt64 = 0x0807_0605_0403_0201
            var second: UInt32 = 0x0c0b_0a09
            try withUnsafeMutablePointer(to: &first) { first in
                try withUnsafeMutablePointer(to: &second) { second in
                    var parameters: [UnsafeMutableRawPointer?] = [
                        UnsafeMutableRawPointer(first), UnsafeMutableRawPointer(second),
                    ]
                    try harness.shim.cuLaunchKernel(
                        function, 5, 1, 1, 64, 1, 1, 0, nil, &parameters, nil, defaultStream: .legacy)
                }
            }
            #expect(harness.driver.takeCalls() == ["launch 5x64 on 0"])
            #expect(harness.driver.state.withLock { $0.parameters } == (1...12).map { UInt8($0) })
        }
    }

    @Test func takesABlockAndItsSize() throws {
        try Harness().run { harness in
            let function = try harness.kernel()
            var block = (1...12).map { UInt8($0) }
            var size = block.count
            func launch() throws(CUDAError) {
                let blockAddress = block.withUnsafeMutableBytes { $0.baseAddress }
                let sizeAddress = withUnsafeMutablePointer(to: &size) { UnsafeMutableRawPointer($0) }
                var extra: [UnsafeMutableRawPointer?] = [
                    UnsafeMutableRawPointer(bitPattern: 1), blockAddress, UnsafeMutableRawPointer(bitPattern: 2),
                    sizeAddress, nil,
                ]
                try harness.shim.cuLaunchKernel(
                    function, 1, 1, 1, 1, 1, 1, 0, nil, nil, &extra, defaultStream: .legacy)
            }
            try launch()
            #expect(harness.driver.state.withLock { $0.parameters } == block)
            size = 4
            #expect(harness.code { () throws(CUDAError) in try launch() } == CUDA_ERROR_INVALID_VALUE)
        }
    }

    @Test(
        arguments: [
            (0, 1, 1, 1, 0), (1, 0, 1, 1, 0), (1, 1, 1, 65, 0), (1, 1, 2048, 1, 0),
            (1, 70_000, 1, 1, 0),
            (1, 1, 1, 1, 5000),
        ] as [(UInt32, UInt32, UInt32, UInt32, UInt32)])
    func refusesAtOnce(gridX: UInt32, gridY: UInt32, blockX: UInt32, blockZ: UInt32, shared: UInt32) throws {
        try Harness().run { harness in
            let function = try harness.kernel()
            var value: UInt64 = 0
            withUnsafeMutablePointer(to: &value) { value in
                var parameters = [UnsafeMutableRawPointer?](repeating: UnsafeMutableRawPointer(value), count: 2)
                let code = harness.code { () throws(CUDAError) in
                    try harness.shim.cuLaunchKernel(
                        function, gridX, gridY, 1, blockX, 1, blockZ, shared, nil, &parameters, nil,
                        defaultStream: .legacy)
                }
                #expect(code == CUDA_ERROR_INVALID_VALUE)
            }
        }
    }

    @Test func refusesWithoutAFunctionOrParameters() throws {
        try Harness().run { harness in
            let function = try harness.kernel()
            for (handle, expected) in [(nil, CUDA_ERROR_INVALID_HANDLE), (function, CUDA_ERROR_INVALID_VALUE)] {
                let code = harness.code { () throws(CUDAError) in
                    try harness.shim.cuLaunchKernel(
                        handle, 1, 1, 1, 1, 1, 1, 0, nil, nil, nil, defaultStream: .legacy)
                }
                #expect(code == expected)
            }
        }
    }

    /// CUDA_MODULE_LOADING: LAZY loads what is needed when it is, EAGER everything into every context.
    @Test(arguments: [false, true])
    func loadsLibrariesWhenTheEnvironmentSays(eagerly: Bool) throws {
        try Harness(loadsModulesEagerly: eagerly).run { harness in
            let shim = harness.shim
            let text = Array(".version 7.0".utf8) + [0]
            try text.withUnsafeBytes { text in
                var library: OpaquePointer?
                var option = CU_LIBRARY_BINARY_IS_PRESERVED
                var value = UnsafeMutableRawPointer(bitPattern: 1)
                try shim.cuLibraryLoadData(&library, text.baseAddress, nil, nil, 0, &option, &value, 1)
                #expect(harness.driver.takeCalls().filter { $0.hasPrefix("load") }.count == (eagerly ? 1 : 0))
                var context: OpaquePointer?
                try shim.cuCtxCreate_v2(&context, 0, 0)
                #expect(harness.driver.takeCalls().filter { $0.hasPrefix("load") }.count == (eagerly ? 1 : 0))
                var kernel: OpaquePointer?
                try shim.cuLibraryGetKernel(&kernel, library, "kernel")
                #expect(harness.driver.takeCalls().filter { $0.hasPrefix("load") }.count == (eagerly ? 0 : 1))
            }
        }
    }

    @Test func launchesAKernelOfALibraryInTheCurrentContext() throws {
        try Harness().run { harness in
            let shim = harness.shim
            var library: OpaquePointer?
            var kernel: OpaquePointer?
            try shim.cuLibraryLoadData(&library, ".version 7.0", nil, nil, 0, nil, nil, 0)
            try shim.cuLibraryGetKernel(&kernel, library, "kernel")
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuLibraryGetKernel(&kernel, library, "none") }
                    == CUDA_ERROR_NOT_FOUND)
            _ = try harness.enterPrimary(1)
            _ = harness.driver.takeCalls()
            var value: UInt64 = 0
            try withUnsafeMutablePointer(to: &value) { value in
                var parameters = [UnsafeMutableRawPointer?](repeating: UnsafeMutableRawPointer(value), count: 2)
                for _ in 0..<2 {
                    try shim.cuLaunchKernel(
                        kernel, 1, 1, 1, 1, 1, 1, 0, nil, &parameters, nil, defaultStream: .perThread)
                }
            }
            let calls = harness.driver.takeCalls()
            #expect(calls.filter { $0.hasPrefix("load") }.count == 1)
            #expect(calls.filter { $0.hasPrefix("stream") }.count == 1)
            #expect(calls.filter { $0.hasPrefix("launch") }.count == 2)
            try shim.cuLibraryUnload(library)
            #expect(harness.driver.takeCalls() == ["unload", "unload"])
        }
    }

    @Test func findsTheBlockSizeWithMostActiveThreads() throws {
        try Harness().run { harness in
            let function = try harness.kernel()
            var grid: Int32 = 0
            var block: Int32 = 0
            try harness.shim.cuOccupancyMaxPotentialBlockSize(&grid, &block, function, nil, 0, 0)
            #expect(block == 256)
            #expect(grid == 16)
            _ = harness.driver.takeCalls()
            try harness.shim.cuOccupancyMaxPotentialBlockSize(&grid, &block, function, nil, 0, 0)
            #expect(harness.driver.takeCalls().isEmpty)
        }
    }
}

@Suite struct CopyTests {
    @Test func choosesByWhatTheAddressesAre() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let device = try harness.allocate(256)
            var pinned: UnsafeMutableRawPointer?
            try shim.cuMemAllocHost_v2(&pinned, 256)
            let host = UnsafeMutableRawPointer.allocate(byteCount: 256, alignment: 16)
            defer { host.deallocate() }
            let (hostAddress, pinnedAddress) = (Shim.address(host), Shim.address(pinned))
            _ = harness.driver.takeCalls()
            try shim.cuMemcpy(device, hostAddress, 256, defaultStream: .legacy)
            try shim.cuMemcpy(hostAddress, device + 6, 250, defaultStream: .legacy)
            try shim.cuMemcpyAsync(pinnedAddress, device, 16, nil, defaultStream: .legacy)
            // Pageable memory is complete on return.
            try shim.cuMemcpyAsync(hostAddress, device, 17, nil, defaultStream: .legacy)
            try shim.cuMemcpy(device, device + 128, 128, defaultStream: .legacy)
            try shim.cuMemcpyHtoD_v2(device, host, 0, defaultStream: .legacy)
            #expect(harness.driver.takeCalls() == ["HtoD 256", "DtoH 250", "DtoHAsync 16", "DtoH 17", "DtoD 128"])
            host.storeBytes(of: 42, as: UInt8.self)
            try shim.cuMemcpy(pinnedAddress, hostAddress, 1, defaultStream: .legacy)
            #expect(pinned?.load(as: UInt8.self) == 42)
            try shim.cuMemFreeHost(pinned)
        }
    }

    @Test func refusesRangesThatLeaveTheirAllocation() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let device = try harness.allocate(256)
            let host = UnsafeMutableRawPointer.allocate(byteCount: 512, alignment: 16)
            defer { host.deallocate() }
            _ = harness.driver.takeCalls()
            func refused(_ call: () throws(CUDAError) -> Void) {
                #expect(harness.code(call) == CUDA_ERROR_INVALID_VALUE)
            }
            refused { () throws(CUDAError) in try shim.cuMemcpyHtoD_v2(device, host, 257, defaultStream: .legacy) }
            refused { () throws(CUDAError) in try shim.cuMemcpyHtoD_v2(device + 256, host, 1, defaultStream: .legacy) }
            refused { () throws(CUDAError) in try shim.cuMemcpyHtoD_v2(0, host, 1, defaultStream: .legacy) }
            refused { () throws(CUDAError) in try shim.cuMemcpyDtoH_v2(nil, device, 1, defaultStream: .legacy) }
            refused { () throws(CUDAError) in try shim.cuMemcpyDtoH_v2(host, device, -1, defaultStream: .legacy) }
            refused { () throws(CUDAError) in
                try shim.cuMemcpyDtoD_v2(device, Shim.address(host), 1, defaultStream: .legacy)
            }
            refused { () throws(CUDAError) in try shim.cuMemsetD8_v2(device, 0, 257, defaultStream: .legacy) }
            refused { () throws(CUDAError) in try shim.cuMemsetD32_v2(device + 2, 0, 1, defaultStream: .legacy) }
            refused { () throws(CUDAError) in try shim.cuMemsetD2D8_v2(device, 100, 0, 60, 3, defaultStream: .legacy) }
            refused { () throws(CUDAError) in try shim.cuMemFree_v2(device + 8) }
            refused { () throws(CUDAError) in try shim.cuMemFree_v2(Shim.address(host)) }
            #expect(harness.driver.takeCalls().isEmpty)
        }
    }

    @Test func packsAndScattersRows() throws {
        try Harness().run { harness in
            let device = try harness.allocate(4096)
            var host = (0..<16).map { UInt8($0) }
            _ = harness.driver.takeCalls()
            try host.withUnsafeMutableBytes { host in
                var copy = CUDA_MEMCPY2D()
                copy.srcMemoryType = CU_MEMORYTYPE_HOST
                copy.srcHost = UnsafeRawPointer(host.baseAddress)
                copy.srcXInBytes = 1
                copy.srcY = 1
                copy.srcPitch = 4
                copy.dstMemoryType = CU_MEMORYTYPE_DEVICE
                copy.dstDevice = device
                copy.dstY = 2
                copy.dstPitch = 8
                copy.WidthInBytes = 2
                copy.Height = 3
                try harness.shim.cuMemcpy2D_v2(&copy, defaultStream: .legacy)
                let offset = (device + 16) & 0xfff
                #expect(harness.driver.takeCalls() == ["box HtoD [5, 6, 9, 10, 13, 14] at \(offset) pitch 8"])

                var back = CUDA_MEMCPY2D()
                back.srcMemoryType = CU_MEMORYTYPE_UNIFIED
                back.srcDevice = device
                back.srcPitch = 8
                back.dstMemoryType = CU_MEMORYTYPE_HOST
                back.dstHost = host.baseAddress
                back.dstPitch = 4
                back.WidthInBytes = 2
                back.Height = 2
                try harness.shim.cuMemcpy2D_v2(&back, defaultStream: .legacy)
                back.Height = 5000
                #expect(
                    harness.code { () throws(CUDAError) in try harness.shim.cuMemcpy2D_v2(&back, defaultStream: .legacy)
                    }
                        == CUDA_ERROR_INVALID_VALUE)
                back.srcMemoryType = CU_MEMORYTYPE_ARRAY
                #expect(
                    harness.code { () throws(CUDAError) in try harness.shim.cuMemcpy2D_v2(&back, defaultStream: .legacy)
                    }
                        == CUDA_ERROR_INVALID_HANDLE)
            }
            #expect(host[..<8] == [1, 2, 2, 3, 3, 4, 6, 7])
        }
    }
}

@Suite struct MemoryTests {
    @Test func allocatesElsewhereWhereHostMemoryIs() throws {
        let harness = Harness(remoteMemory: true)
        try harness.run { harness in
            let chunkBytes = 4 << 20
            let taken = try #require(mmap(nil, chunkBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
            defer { munmap(taken, chunkBytes) }
            harness.driver.state.withLock { $0.addresses = [Shim.address(taken)] }
            let address = try harness.allocate(4096)
            #expect(address < 0x2000_0000_0000)
            #expect(harness.driver.takeCalls() == ["allocate 4096", "allocate 4096", "free"])
            try harness.shim.cuMemFree_v2(address)
        }
    }

    @Test func answersWhatAPointerIs() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let device = try harness.allocate(256)
            var type: UInt32 = 0
            var base: CUdeviceptr = 0
            var size = 0
            try shim.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, device + 3)
            #expect(type == CU_MEMORYTYPE_DEVICE.rawValue)
            try shim.cuMemGetAddressRange_v2(&base, &size, device + 255)
            #expect(base == device)
            #expect(size == 256)
            var identifier: UInt64 = 0
            try shim.cuPointerGetAttribute(&identifier, CU_POINTER_ATTRIBUTE_BUFFER_ID, device)
            #expect(identifier != 0)
            #expect(
                harness.code { () throws(CUDAError) in
                    try shim.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, 0x1234)
                } == CUDA_ERROR_INVALID_VALUE)
            var attribute = CU_POINTER_ATTRIBUTE_MEMORY_TYPE
            try withUnsafeMutablePointer(to: &type) { type in
                var targets: [UnsafeMutableRawPointer?] = [UnsafeMutableRawPointer(type)]
                try shim.cuPointerGetAttributes(1, &attribute, &targets, 0x1234)
            }
            #expect(type == 0)
        }
    }

    @Test func registersHostMemoryOnce() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let host = UnsafeMutableRawPointer.allocate(byteCount: 8192, alignment: 4096)
            defer { host.deallocate() }
            try shim.cuMemHostRegister_v2(host, 4096, 0)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuMemHostRegister_v2(host + 100, 8, 0) }
                    == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED)
            var flags: UInt32 = 0
            try shim.cuMemHostGetFlags(&flags, host + 10)
            try shim.cuMemHostUnregister(host)
            #expect(
                harness.code { () throws(CUDAError) in try shim.cuMemHostUnregister(host) }
                    == CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED)
        }
    }
}

@Suite struct LoadingTests {
    @Test func fillsTheLogsOfTheApplication() throws {
        try Harness().run { harness in
            var buffer = [CChar](repeating: 1, count: 8)
            var options = [CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, CU_JIT_MAX_REGISTERS]
            var module: OpaquePointer?
            let values = try buffer.withUnsafeMutableBytes { buffer in
                var values: [UnsafeMutableRawPointer?] = [
                    buffer.baseAddress, UnsafeMutableRawPointer(bitPattern: 8), UnsafeMutableRawPointer(bitPattern: 32),
                ]
                try harness.shim.cuModuleLoadDataEx(&module, ".version 7.0", 3, &options, &values)
                return values
            }
            #expect(string(buffer) == "a long ")
            #expect(UInt(bitPattern: values[1]) == 7)
        }
    }

    @Test func keepsALinkedImageUntilItsEnd() throws {
        try Harness().run { harness in
            let shim = harness.shim
            var link: OpaquePointer?
            var image: UnsafeMutableRawPointer?
            var size = 0
            try shim.cuLinkCreate_v2(0, nil, nil, &link)
            var text = Array("text".utf8)
            try shim.cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, &text, 4, "name", 0, nil, nil)
            try shim.cuLinkComplete(link, &image, &size)
            #expect(size == 4)
            #expect(image.map { String(cString: $0.assumingMemoryBound(to: CChar.self)) } == "text")
            try shim.cuLinkDestroy(link)
            #expect(harness.code { () throws(CUDAError) in try shim.cuLinkDestroy(link) } == CUDA_ERROR_INVALID_HANDLE)
        }
    }
}

@Suite struct ExportTests {
    @Test func refusesBeforeInitialisationAndNamesErrors() {
        var name: UnsafePointer<CChar>?
        #expect(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &name) == CUDA_SUCCESS)
        #expect(name.map { String(cString: $0) } == "CUDA_ERROR_OUT_OF_MEMORY")
        #expect(cuGetErrorString(CUDA_ERROR_INVALID_VALUE, &name) == CUDA_SUCCESS)
        #expect(name.map { String(cString: $0) } == "invalid argument")
        #expect(cuGetErrorName(CUresult(12345), &name) == CUDA_ERROR_INVALID_VALUE)
        #expect(name == nil)
        #expect(cuInit(1) == CUDA_ERROR_INVALID_VALUE)
    }

    @Test func answersTheIntegrityQuestionAndServesItsTables() throws {
        #expect(cuInit(0) == CUDA_SUCCESS)
        func table(_ bytes: [UInt8]) -> UnsafeRawPointer? {
            var table: UnsafeRawPointer?
            return bytes.withUnsafeBytes { bytes in
                let id = bytes.baseAddress?.assumingMemoryBound(to: CUuuid.self)
                return cuGetExportTable(&table, id) == CUDA_SUCCESS ? table : nil
            }
        }
        let integrity = try #require(
            table([0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b, 0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1, 0xf2]))
        // Runtimes 11.x accept no other length.
        #expect(integrity.load(as: UInt.self) == 24)
        typealias Ask = @convention(c) (UInt32, UInt64, UnsafeMutablePointer<UInt64>?) -> CUresult
        let ask = unsafeBitCast(integrity.load(fromByteOffset: 8, as: UInt.self), to: Ask.self)
        var answer: [UInt64] = [0, 0]
        #expect(ask(13050, 0, &answer) == CUDA_SUCCESS)
        #expect(answer == [0x3341_181c_03cb_675c, 0x8ed3_83aa_1f4c_d1e8])
        #expect(ask(13052, 1_700_000_000, &answer) == CUDA_SUCCESS)
        let first = answer
        #expect(ask(13052, 1_700_000_001, &answer) == CUDA_SUCCESS)
        #expect(answer != first)
        #expect(table([0xf8, 0xcf, 0xf9, 0x51] + [UInt8](repeating: 0, count: 12)) == nil)
    }
}

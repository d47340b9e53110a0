// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Modules, the linker, launches, and kernels that fail.
@Suite struct DriverContractKernels {
    @Test(arguments: DriverContract.subjects)
    func addsVectors(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let add = try fixture.function("add", in: ContractPTX.add)
        let count = 10_000
        let a = try fixture.upload((0..<count).map { Float($0) })
        let b = try fixture.upload((0..<count).map { Float($0) * 0.5 })
        let c = try fixture.allocate(count * 4)
        try fixture.launch(
            add, grid: UInt32(count + 255) / 256, block: 256, .legacyDefault, .u64(a), .u64(b), .u64(c),
            .u32(UInt32(count)))
        #expect(try fixture.download(c, count: count, of: Float(0)) == (0..<count).map { Float($0) * 1.5 })
    }

    /// Larger than what travels in one piece, and loaded again, by which a server may know it.
    @Test(arguments: DriverContract.subjects)
    func loadsALargeModuleTwice(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let text = ContractPTX.store + String(repeating: "// of many lines like this one\n", count: 100_000)
        let address = try fixture.upload([UInt32(5)])
        for value in UInt32(6)...7 {
            let module = try fixture.load(text)
            let increment = try fixture.driver.cuModuleGetFunction(fixture.context, hmod: module, name: "increment")
            try fixture.launch(increment, .legacyDefault, .u64(address))
            #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [value])
            try fixture.driver.cuModuleUnload(fixture.context, hmod: module)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func passesParametersOfEverySize(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let mixed = try fixture.function("mixed", in: ContractPTX.mixed)
        #expect(mixed.parameters.map(\.offset) == [0, 8, 16, 20, 24])
        #expect(mixed.parameters.map(\.size) == [1, 8, 2, 4, 8])
        let target = try fixture.upload([UInt64](repeating: 0, count: 4))
        try fixture.launch(
            mixed, .legacyDefault, .u8(200), .u64(target), .u16(60_000), .u32(4_000_000_000), .f64(-0.25))
        #expect(
            try fixture.download(target, count: 4, of: UInt64(0)) == [
                200, 60_000, 4_000_000_000, (-0.25).bitPattern,
            ])
    }

    @Test(arguments: DriverContract.subjects)
    func givesBlocksDynamicSharedMemory(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let reverse = try fixture.function("reverse", in: ContractPTX.reverse)
        let address = try fixture.upload((0..<200).map { UInt32($0) })
        try fixture.launch(reverse, block: 200, shared: 800, .legacyDefault, .u64(address))
        #expect(try fixture.download(address, count: 200, of: UInt32(0)) == (0..<200).reversed().map { UInt32($0) })
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try fixture.launch(reverse, block: 200, shared: 1 << 20, .legacyDefault, .u64(address))
        }
    }

    @Test(arguments: DriverContract.subjects)
    func refusesImpossibleGeometry(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let empty = try fixture.function("empty", in: ContractPTX.add)
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        let shapes = [
            LaunchGeometry(grid: (0, 1, 1), block: (1, 1, 1)), LaunchGeometry(grid: (1, 1, 1), block: (0, 1, 1)),
            LaunchGeometry(grid: (1, 1, 1), block: (2048, 1, 1)), LaunchGeometry(grid: (1, 1, 1), block: (1, 1, 65)),
            LaunchGeometry(grid: (1, 1, 1), block: (64, 64, 1)), LaunchGeometry(grid: (1, 70_000, 1), block: (1, 1, 1)),
        ]
        for shape in shapes {
            fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
                try fixture.driver.cuLaunchKernel(
                    fixture.context, f: empty.function, shape, stream: .legacyDefault, parameters: none)
            }
        }
        try fixture.launch(empty, grid: 3, block: 1024)
        try fixture.synchronize()
    }

    @Test(arguments: DriverContract.handleCheckingSubjects)
    func refusesWhatIsNoKernel(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let module = try fixture.load(ContractPTX.add)
        #expect(throws: CUDAError.notFound) {
            try fixture.driver.cuModuleGetFunction(fixture.context, hmod: module, name: "subtract")
        }
        #expect(throws: CUDAError.notFound) {
            try fixture.driver.cuModuleGetGlobal_v2(fixture.context, hmod: module, name: "nothing")
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) {
            try fixture.driver.cuLaunchKernel(
                fixture.context, f: FunctionHandle(bits: 0x7777), LaunchGeometry(grid: (1, 1, 1), block: (1, 1, 1)),
                stream: .legacyDefault, parameters: UnsafeRawBufferPointer(start: nil, count: 0))
        }
    }

    @Test(arguments: DriverContract.subjects)
    func listsTheKernelsOfAModule(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let module = try fixture.load(ContractPTX.add)
        let names = try fixture.driver.cuModuleEnumerateFunctions(fixture.context, hmod: module)
        #expect(Set(names) == ["empty", "add"])
    }

    @Test(arguments: DriverContract.subjects)
    func refusesImagesThatAreNone(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let images: [[UInt8]] = [
            Array("this is not PTX".utf8), [0], [0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0, 255, 255, 255, 255, 0, 0, 0, 0],
        ]
        for image in images {
            var log = JITLog()
            fixture.expectRefusal(CUDA_ERROR_INVALID_IMAGE, CUDA_ERROR_NO_BINARY_FOR_GPU, CUDA_ERROR_INVALID_PTX) {
                _ = try fixture.driver.cuModuleLoadDataEx(
                    fixture.context, image: image.span.bytes, options: [], log: &log)
            }
        }
    }

    @Test(arguments: DriverContract.subjects)
    func saysWhatIsWrongWithPTX(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let text = ".version 6.4\n.target sm_70\n.address_size 64\n.visible .entry k() {\n  frobnicate.u32 %r1;\n}\n"
        var log = JITLog()
        #expect(throws: CUDAError(CUDA_ERROR_INVALID_PTX)) {
            try fixture.driver.cuModuleLoadDataEx(
                fixture.context, image: Array(text.utf8).span.bytes, options: [], log: &log)
        }
        #expect(log.error.contains("line 5"))
    }

    @Test(arguments: DriverContract.subjects)
    func givesVariablesTheirInitialValues(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let module = try fixture.load(ContractPTX.variables)
        let sum = try driver.cuModuleGetFunction(context, hmod: module, name: "sum")
        let result = try fixture.upload([0] as [UInt32])
        try fixture.launch(sum, .legacyDefault, .u64(result))
        #expect(try fixture.download(result, count: 1, of: UInt32(0)) == [50])
        let table = try driver.cuModuleGetGlobal_v2(context, hmod: module, name: "table")
        #expect(table.bytes == 16)
        try fixture.write([100] as [UInt32], to: table.dptr)
        try fixture.launch(sum, .legacyDefault, .u64(result))
        #expect(try fixture.download(result, count: 1, of: UInt32(0)) == [149])
        let zeros = try driver.cuModuleGetGlobal_v2(context, hmod: module, name: "zeros")
        #expect(try fixture.download(zeros.dptr, count: 16, of: UInt32(1)) == [UInt32](repeating: 0, count: 16))
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.free(zeros.dptr) }
    }

    @Test(arguments: DriverContract.subjects)
    func unloadsModules(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let before = try fixture.driver.cuMemGetInfo_v2(fixture.context).free
        let module = try fixture.load(ContractPTX.variables)
        let function = try fixture.driver.cuModuleGetFunction(fixture.context, hmod: module, name: "sum")
        try fixture.driver.cuModuleUnload(fixture.context, hmod: module)
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) { try fixture.launch(function, .legacyDefault, .u64(0)) }
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free == before)
    }

    @Test(arguments: DriverContract.subjects)
    func linksPTX(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let inputs = [ContractPTX.linkedKernel, ContractPTX.linkedFunction].map { text in
            LinkInput(
                type: CU_JIT_INPUT_PTX.rawValue, name: "text", bytes: Array(text.utf8) + [0], options: [])
        }
        var log = JITLog()
        let image = try driver.cuLinkComplete(context, inputs: inputs, options: [], log: &log)
        let module = try driver.cuModuleLoadDataEx(context, image: image.span.bytes, options: [], log: &log)
        let quadruple = try driver.cuModuleGetFunction(context, hmod: module, name: "quadruple")
        let address = try fixture.upload([11] as [UInt32])
        try fixture.launch(quadruple, .legacyDefault, .u64(address))
        #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [44])
    }

    @Test(arguments: DriverContract.subjects)
    func namesWhatCannotBeLinked(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let input = LinkInput(
            type: CU_JIT_INPUT_PTX.rawValue, name: "text", bytes: Array(ContractPTX.linkedKernel.utf8), options: [])
        var log = JITLog()
        #expect(throws: CUDAError.self) {
            try fixture.driver.cuLinkComplete(fixture.context, inputs: [input], options: [], log: &log)
        }
        #expect(log.error.contains("twice"))
    }

    @Test(arguments: DriverContract.subjects)
    func knowsAndSetsAttributesOfKernels(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let reverse = try fixture.function("reverse", in: ContractPTX.reverse)
        #expect(reverse.attributes.count == FunctionDescription.attributeCount)
        #expect(reverse.attributes[0] == 1024)
        #expect(try driver.cuFuncGetAttribute(context, attrib: 0, hfunc: reverse.function) == 1024)
        // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES is 8.
        try driver.cuFuncSetAttribute(context, hfunc: reverse.function, attrib: 8, value: 60_000)
        #expect(try driver.cuFuncGetAttribute(context, attrib: 8, hfunc: reverse.function) == 60_000)
        let address = try fixture.upload((0..<64).map { UInt32($0) })
        try fixture.launch(reverse, block: 64, shared: 60_000, .legacyDefault, .u64(address))
        try fixture.synchronize()
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try driver.cuFuncSetAttribute(context, hfunc: reverse.function, attrib: 8, value: 1 << 24)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func computesOccupancy(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let empty = try fixture.function("empty", in: ContractPTX.add).function
        func blocks(_ threads: Int32, _ shared: Int = 0) throws -> Int32 {
            try driver.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
                context, hfunc: empty, blockSize: threads, dynamicSMemSize: shared, flags: 0)
        }
        let description = try driver.describe().devices[0]
        let threadsMax = description[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR]
        let shared = Int(description[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK])
        #expect(try blocks(1024) == threadsMax / 1024)
        // A kernel always fits in the largest block that it says it can have.
        let add = try fixture.function("add", in: ContractPTX.add)
        let registers = Int(add.attributes[4]) * Int(add.attributes[0])
        #expect(registers <= Int(description[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK]))
        #expect(try blocks(32) >= blocks(1024))
        #expect(try (1..<blocks(32)).contains(blocks(32, shared)))
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { _ = try blocks(0) }
        let available = try driver.cuOccupancyAvailableDynamicSMemPerBlock(
            context, hfunc: empty, numBlocks: 1, blockSize: 32)
        #expect(available >= shared)
    }

    @Test(arguments: DriverContract.subjects)
    func launchesTogetherOnlyIfTheDeviceCan(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let device = try fixture.driver.describe().devices[0]
        let empty = try fixture.function("empty", in: ContractPTX.add)
        func launch(blocks: UInt32) throws {
            try fixture.driver.cuLaunchKernel(
                fixture.context, f: empty.function,
                LaunchGeometry(grid: (blocks, 1, 1), block: (1, 1, 1), isCooperative: true), stream: .legacyDefault,
                parameters: UnsafeRawBufferPointer(start: nil, count: 0))
        }
        guard device[CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH] == 1 else {
            fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED) { try launch(blocks: 1) }
            return
        }
        try launch(blocks: 2)
        try fixture.synchronize()
        fixture.expectRefusal(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE) { try launch(blocks: 1 << 24) }
        // Exactly as many as fit, in a launch and in a graph.
        let perProcessor = try fixture.driver.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
            fixture.context, hfunc: empty.function, blockSize: 1, dynamicSMemSize: 0, flags: 0)
        let blocksMax = UInt32(perProcessor * device[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT])
        try launch(blocks: blocksMax)
        try fixture.synchronize()
        fixture.expectRefusal(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE) { try launch(blocks: blocksMax + 1) }
        func plan(blocks: UInt32) -> GraphPlan {
            let shape = LaunchGeometry(grid: (blocks, 1, 1), block: (1, 1, 1), isCooperative: true)
            let work = DeviceWork.kernel(empty.function, shape, parameters: [])
            return GraphPlan(nodes: [GraphPlan.Node(context: fixture.context, work: work, dependencies: [])])
        }
        let graph = try fixture.driver.cuGraphInstantiate(fixture.context, plan: plan(blocks: blocksMax))
        try fixture.driver.cuGraphLaunch(fixture.context, hGraphExec: graph, hStream: .legacyDefault)
        try fixture.synchronize()
        try fixture.driver.cuGraphExecDestroy(fixture.context, hGraphExec: graph)
        fixture.expectRefusal(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE) {
            _ = try fixture.driver.cuGraphInstantiate(fixture.context, plan: plan(blocks: blocksMax + 1))
        }
    }

    @Test(arguments: DriverContract.subjects)
    func countsClustersOnlyIfTheDeviceHasThem(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let empty = try fixture.function("empty", in: ContractPTX.add).function
        var shape = LaunchGeometry(grid: (64, 1, 1), block: (32, 1, 1))
        shape.attributeBits = 0x0101_0200
        if try driver.describe().devices[0][CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH] == 1 {
            #expect(try driver.cuOccupancyMaxActiveClusters(context, hfunc: empty, shape) > 0)
            #expect(try driver.cuOccupancyMaxPotentialClusterSize(context, hfunc: empty, shape) >= 8)
            return
        }
        for question in [driver.cuOccupancyMaxActiveClusters, driver.cuOccupancyMaxPotentialClusterSize] {
            fixture.expectRefusal(CUDA_ERROR_INVALID_CLUSTER_SIZE) { _ = try question(context, empty, shape) }
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_CLUSTER_SIZE, CUDA_ERROR_INVALID_VALUE) {
            try driver.cuLaunchKernel(
                context, f: empty, shape, stream: .legacyDefault,
                parameters: UnsafeRawBufferPointer(start: nil, count: 0))
        }
    }

    // MARK: Failures

    @Test(arguments: DriverContract.subjects)
    func anIllegalAddressEndsTheContextAlone(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let driver = fixture.driver
        let other = try driver.cuCtxCreate_v2(flags: 0, dev: 0)
        let store = try fixture.function("store", in: ContractPTX.store)
        let address = try fixture.allocate(4096)
        try fixture.launch(store, .legacyDefault, .u64(address + 1 << 30), .u32(1))
        let illegal = CUDAError(CUDA_ERROR_ILLEGAL_ADDRESS)
        #expect(throws: illegal) { try fixture.synchronize() }
        #expect(throws: illegal) { try fixture.synchronize() }
        #expect(throws: illegal) { try fixture.allocate(16) }
        #expect(throws: illegal) { try fixture.download(address, count: 1, of: UInt32(0)) }
        let memory = try driver.cuMemAlloc_v2(other, bytesize: 16)
        try driver.cuMemsetD8Async(other, dstDevice: memory, uc: 1, n: 16, hStream: .legacyDefault)
        try driver.cuCtxSynchronize(other)
        try driver.cuCtxDestroy_v2(ctx: other)
    }

    @Test(arguments: DriverContract.subjects)
    func aFreshContextFollowsAFailedOne(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        try fixture.needSecondDevice()
        let driver = fixture.driver
        let context = try driver.cuDevicePrimaryCtxRetain(dev: 1)
        var log = JITLog()
        let module = try driver.cuModuleLoadDataEx(
            context, image: Array(ContractPTX.trap.utf8).span.bytes, options: [], log: &log)
        let fail = try driver.cuModuleGetFunction(context, hmod: module, name: "fail")
        try driver.cuLaunchKernel(
            context, f: fail.function, LaunchGeometry(grid: (1, 1, 1), block: (32, 1, 1)), stream: .legacyDefault,
            parameters: UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(throws: CUDAError.self) { try driver.cuCtxSynchronize(context) }
        try driver.cuDevicePrimaryCtxRelease_v2(dev: 1, context: context)
        let fresh = try driver.cuDevicePrimaryCtxRetain(dev: 1)
        try driver.cuCtxSynchronize(fresh)
        try driver.cuDevicePrimaryCtxRelease_v2(dev: 1, context: fresh)
        try fixture.synchronize()
    }

    /// An image larger than whatever lies between client and worker.
    @Test(arguments: DriverContract.subjects)
    func loadsALargeImage(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let comment = "// " + String(repeating: "x", count: 5 << 20) + "\n"
        let increment = try fixture.function("increment", in: ContractPTX.store + comment)
        let address = try fixture.upload([41] as [UInt32])
        try fixture.launch(increment, .legacyDefault, .u64(address))
        #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [42])
    }
}

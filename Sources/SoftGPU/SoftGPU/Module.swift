// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import KernelCompiler
import PTX
import Synchronization

/// A loaded module: its program, and its variables in device memory.
final class Module: Sendable {
    let bits: UInt64
    let context: UInt64
    let executor: KernelExecutor
    let program: PTXProgram
    /// What the program allowed its kernels (CU_JIT_MAX_REGISTERS); 0 for no limit.
    ///
    /// It only shows in their attributes.
    let registersMax: Int
    /// Holds all variables of the module, one after the other; nil without any.
    private let memory: Allocation?
    private let variables: [String: Variable]
    private let functions = Mutex<[String: Function]>([:])
    /// What its texture and surface references stand for; nil without any.
    let references: ModuleReferences?

    struct Variable: Sendable {
        let address: UInt64
        let byteCount: Int
    }

    /// Where a program's variables lie relative to the first, and what they need together.
    private struct Layout {
        /// CUDA aligns variables to at least this, so that programs may use vector accesses on them.
        static let alignmentMin = 256
        var offsets: [Int] = []
        var byteCount = 0

        init(_ variables: [VariableDescription]) throws(CUDAError) {
            for variable in variables {
                let alignment = max(Self.alignmentMin, variable.alignment)
                guard alignment <= DeviceMemory.pageBytes, variable.size >= 0, variable.size < 1 << 40 else {
                    throw .invalidImage
                }
                byteCount = (byteCount + alignment - 1) / alignment * alignment
                offsets.append(byteCount)
                byteCount += max(variable.size, 1)
            }
        }
    }

    init(
        bits: UInt64, context: UInt64, program: PTXProgram, memory: Allocation?, variables: [String: Variable],
        registersMax: UInt32, executor: KernelExecutor
    ) {
        self.bits = bits
        self.context = context
        self.program = program
        self.memory = memory
        self.variables = variables
        self.registersMax = Int(registersMax)
        self.executor = executor
        references = program.references.isEmpty ? nil : ModuleReferences(program.references)
    }

    /// Finds room for a program's variables and writes their initial contents.
    static func place(
        _ program: PTXProgram, on device: Device
    ) throws(CUDAError) -> (memory: Allocation?, variables: [String: Variable]) {
        let descriptions = program.variables
        let layout = try Layout(descriptions)
        guard layout.byteCount > 0 else {
            program.place(variablesAt: [])
            return (nil, [:])
        }
        let memory = try device.allocate(layout.byteCount)
        let addresses = layout.offsets.map { memory.address + UInt64($0) }
        program.place(variablesAt: addresses)
        var variables: [String: Variable] = [:]
        for (index, description) in descriptions.enumerated() {
            // Fresh pages are zero, as are variables without a value.
            let bytes = program.initialBytes(of: index).prefix(description.size)
            let target = UnsafeMutableRawBufferPointer(start: pointer(addresses[index]), count: description.size)
            target.copyBytes(from: bytes)
            variables[description.name] = Variable(address: addresses[index], byteCount: description.size)
        }
        return (memory, variables)
    }

    func variable(named name: String) throws(CUDAError) -> Variable {
        guard let variable = variables[name] else { throw .notFound }
        return variable
    }

    /// Its variables as copies may use them.
    var entries: [MemoryMap.Entry] {
        guard let memory else { return [] }
        return variables.values.map { variable in
            MemoryMap.Entry(
                address: variable.address, byteCount: variable.byteCount, owner: .module(bits), context: context,
                allocation: memory)
        }
    }

    /// The kernel of this name, always the same object.
    ///
    /// `make` gives it its handle.
    func function(named name: String, _ make: (Int) throws(CUDAError) -> Function) throws(CUDAError) -> Function {
        if let known = functions.withLock({ $0[name] }) { return known }
        guard let index = program.kernels.firstIndex(where: { $0.name == name }) else { throw .notFound }
        let made = try make(index)
        return functions.withLock { functions in
            if let known = functions[name] { return known }
            functions[name] = made
            return made
        }
    }

    /// Forgets its functions, which hold the module.
    func unload() { functions.withLock { $0.removeAll() } }
}

/// A kernel of a module, compiled when it is first launched.
final class Function: Sendable {
    let bits: UInt64
    let module: Module
    let description: KernelDescription
    /// The total of dynamic shared memory a launch may ask for, settable.
    let dynamicSharedBytesMax: Atomic<Int>
    private let carveout = Atomic<Int32>(-1)
    let profile: DeviceProfile
    private let index: Int
    private let kernel = Mutex<CompiledKernel?>(nil)

    init(bits: UInt64, module: Module, index: Int, profile: DeviceProfile) {
        self.bits = bits
        self.module = module
        self.index = index
        self.profile = profile
        description = module.program.kernels[index]
        dynamicSharedBytesMax = Atomic(max(0, DeviceProfile.sharedBytesPerBlock - description.staticSharedBytes))
    }

    /// The machine code, once there is some.
    var compiled: CompiledKernel? { kernel.withLock { $0 } }

    /// Compiles the kernel unless that has been done.
    func prepare() throws(CUDAError) {
        guard compiled == nil else { return }
        do {
            let made = try module.program.kernel(index)
            kernel.withLock { $0 = made }
        } catch {
            KernelOutput.report(
                "Bitfusion Soft GPU: kernel \(description.name), PTX line \(error.line): \(error.message)")
            throw error.kind == .unsupported ? .notSupported : CUDAError(CUDA_ERROR_INVALID_PTX)
        }
    }

    /// Registers per thread: an estimate from the PTX, but as a compiler would keep it, never more than the largest
    /// block of the kernel can have.
    var registers: Int {
        let registersMax = DeviceProfile.registersPerMultiprocessor / max(1, description.maxThreadsPerBlock)
        let possible = registersMax / Occupancy.registerGranule * Occupancy.registerGranule
        let allowed = module.registersMax > 0 ? module.registersMax : possible
        return min(description.registers, possible, allowed)
    }

    /// The value of each CUfunction_attribute by its number.
    var attributes: [Int32] {
        var values = [Int32](repeating: 0, count: FunctionDescription.attributeCount)
        values[0] = Int32(clamping: description.maxThreadsPerBlock)
        values[1] = Int32(clamping: description.staticSharedBytes)
        values[2] = Int32(clamping: description.constBytes)
        values[3] = Int32(clamping: description.localBytes)
        values[4] = Int32(clamping: registers)
        values[5] = Int32(clamping: description.target)
        values[6] = Int32(profile.capability)
        values[7] = 1
        values[8] = Int32(clamping: dynamicSharedBytesMax.load(ordering: .relaxed))
        values[9] = carveout.load(ordering: .relaxed)
        return values
    }

    /// Sets what can be set: CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES (8) and the preferred carveout (9).
    func setAttribute(_ attribute: UInt32, _ value: Int32) throws(CUDAError) {
        switch attribute {
        case 8:
            let most = DeviceProfile.sharedBytesPerBlockOptIn - description.staticSharedBytes
            guard value >= 0, Int(value) <= most else { throw .invalidValue }
            dynamicSharedBytesMax.store(Int(value), ordering: .relaxed)
        case 9:
            guard (-1...100).contains(value) else { throw .invalidValue }
            carveout.store(value, ordering: .relaxed)
        default: throw .invalidValue
        }
    }
}

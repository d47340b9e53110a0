// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import Glibc
package import PTX
import Synchronization

/// A PTX module, parsed, checked and ready to be compiled kernel by kernel.
package final class PTXProgram: Sendable {
    /// All that is known of a program before it is compiled.
    struct Contents: Sendable {
        let linker: Linker
        let graph: CallGraph
        /// Addresses of the linked program's variables; nil for those in shared memory, or before they are placed.
        var addresses: [UInt64?]
        /// The place among ``PTXProgram/references`` of each variable that is one.
        let references: [Int: Int]
        let processors: Int

        func address(ofVariable index: Int) -> UInt64? { addresses[index] }

        /// Code has no address that a program could see: functions are numbered from 1.
        func address(ofFunction index: Int) -> Int { (graph.addressTaken.firstIndex(of: index) ?? -1) + 1 }
    }

    private struct State {
        var contents: Contents
        var isPlaced: Bool
        var compiled: [Int: CompiledKernel] = [:]
    }

    /// `.entry` functions in the order of the text.
    package let kernels: [KernelDescription]
    /// Module-scope `.global` and `.const` variables.
    package let variables: [VariableDescription]
    /// Texture and surface references, whose values follow the parameters of every launch; see ``KernelLayout``.
    package let references: [ReferenceDescription]
    /// Whether kernels may allocate memory.
    package let usesHeap: Bool

    private let kernelFunctions: [Int]
    private let layouts: [KernelLayout]
    private let variableIndices: [Int]
    private let state: Mutex<State>

    /// Parses and checks PTX texts; several are linked together.
    package init(sources: [[UInt8]]) throws(PTXError) {
        var modules: [Module] = []
        for source in sources { modules.append(try Parser.parse(source)) }
        if let library = try SystemLibrary.module(for: modules) { modules.append(library) }
        let linker = try Linker(modules)
        let graph = CallGraph(linker)
        usesHeap = linker.modules.indices.contains { index in
            guard linker.modules[index].functions.contains(where: { $0.name == "malloc" }),
                case .builtin(.malloc)? = linker.symbol("malloc", in: index)
            else { return false }
            return true
        }
        kernelFunctions = linker.functions.indices.filter { linker.functions[$0].function.isKernel }
        variableIndices = linker.variables.indices.filter {
            linker.variables[$0].variable.space != .shared && linker.variables[$0].variable.reference == nil
        }
        let named = linker.variables.indices.filter { linker.variables[$0].variable.reference != nil }
        references = named.map { index in
            let variable = linker.variables[index].variable
            return ReferenceDescription(name: variable.name, isSurface: variable.reference == .surface)
        }
        layouts = kernelFunctions.map { KernelLayout(kernel: $0, linker, graph) }
        variables = variableIndices.map { index in
            let variable = linker.variables[index].variable
            return VariableDescription(
                name: variable.name, size: variable.size, alignment: max(1, variable.alignment),
                isConstant: variable.space == .const)
        }
        let constBytes = variables.reduce(0) { $0 + ($1.isConstant ? $1.size : 0) }
        kernels = zip(kernelFunctions, layouts).map { index, layout in
            let linked = linker.functions[index]
            return KernelDescription(
                name: linked.function.name, parameters: layout.parameters, parameterBytes: layout.parameterBytes,
                staticSharedBytes: layout.sharedBytes, localBytes: layout.localBytes, constBytes: constBytes,
                maxThreadsPerBlock: linked.function.threadsMax ?? 1024,
                registers: Self.registers(layout, linked.function.threadsMax ?? 1024),
                ptxVersion: linker.modules[linked.module].version, target: linker.modules[linked.module].target)
        }
        let contents = Contents(
            linker: linker, graph: graph, addresses: Array(repeating: nil, count: linker.variables.count),
            references: Dictionary(uniqueKeysWithValues: zip(named, 0...)),
            processors: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        state = Mutex(State(contents: contents, isPlaced: variableIndices.isEmpty))
    }

    /// A plausible number of registers: a PTX text names each value anew, and a real compiler sees to it that the
    /// largest allowed block fits the 65,536 registers of a processor.
    private static func registers(_ layout: KernelLayout, _ threadsMax: Int) -> Int {
        let estimate = (layout.registers / 2 + 23) / 8 * 8
        return min(estimate, 65536 / max(threadsMax, 256) / 8 * 8, 255)
    }

    /// Tells where each variable lies, in the order of `variables`.
    ///
    /// Called once, before the first launch.
    package func place(variablesAt addresses: [UInt64]) {
        precondition(addresses.count == variableIndices.count, "one address for each variable")
        state.withLock { state in
            for (index, address) in zip(variableIndices, addresses) { state.contents.addresses[index] = address }
            state.isPlaced = true
        }
    }

    /// What a variable holds at first; addresses in it are known once the variables are placed.
    package func initialBytes(of variable: Int) -> [UInt8] {
        let contents = state.withLock { $0.contents }
        return InitialBytes.bytes(of: variableIndices[variable], in: contents)
    }

    /// The kernel in machine code: compiled when first asked for.
    package func kernel(_ index: Int) throws(PTXError) -> CompiledKernel {
        let (contents, compiled, isPlaced) = state.withLock { ($0.contents, $0.compiled[index], $0.isPlaced) }
        if let compiled { return compiled }
        guard isPlaced else { throw .invalid("the module's variables have no addresses yet", line: 0) }
        let fresh = try compile(index, contents)
        return state.withLock { state in
            // Another thread may have been faster; its result is as good.
            if let compiled = state.compiled[index] { return compiled }
            state.compiled[index] = fresh
            return fresh
        }
    }

    private func compile(_ index: Int, _ contents: Contents) throws(PTXError) -> CompiledKernel {
        let layout = layouts[index]
        guard layout.sharedBytes <= KernelExecutor.sharedBytesMax else {
            throw .invalid("the kernel '\(kernels[index].name)' uses too much shared memory", line: 0)
        }
        let emitter = KernelEmitter(contents, kernel: kernelFunctions[index], layout: layout)
        let name = JIT.freshName()
        let text = try emitter.emitModule(name: name)
        let code = try JIT.compile(text, entry: name, describedAs: kernels[index].name)
        guard emitter.isCoroutine else {
            let loop = unsafeBitCast(code.address, to: sg_loop_function.self)
            return CompiledKernel(description: kernels[index], code: code, loop: loop, start: nil, frameBytes: 0)
        }
        let start = unsafeBitCast(code.address, to: sg_start_function.self)
        return CompiledKernel(
            description: kernels[index], code: code, loop: nil, start: start,
            frameBytes: KernelLayout.align(Self.frameBytes(of: start), layout.frameAlignment))
    }

    /// Asks a coroutine for the size of its frame: with no room for any, it stores the size and does nothing else.
    private static func frameBytes(of start: sg_start_function) -> Int {
        var block = sg_block()
        _ = start(&block, nil, 0, 0, 0, 0)
        return Int(block.frame_needed)
    }
}

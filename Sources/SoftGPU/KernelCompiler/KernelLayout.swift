// SPDX-License-Identifier: Apache-2.0
import PTX

/// Where a kernel's parameters and shared variables lie.
struct KernelLayout: Sendable {
    struct LocalVariable: Hashable, Sendable {
        var function: Int
        var variable: Int
    }

    private(set) var parameters: [(offset: Int, size: Int)] = []
    private(set) var parameterBytes = 0
    /// Offsets of shared variables declared in functions.
    private(set) var sharedOfFunctions: [LocalVariable: Int] = [:]
    /// Offsets of shared variables of the module level, by index in the linked program.
    private(set) var sharedOfProgram: [Int: Int] = [:]
    /// The static part of shared memory; the dynamic part follows.
    private(set) var sharedBytes = 0
    private(set) var localBytes = 0
    private(set) var registers = 0
    /// What the frames of coroutines must be aligned to, so that each local variable in them is; a page at most.
    private(set) var frameAlignment = 64

    init(kernel: Int, _ linker: Linker, _ graph: CallGraph) {
        let function = linker.functions[kernel].function
        for parameter in function.parameters {
            let variable = function.variables[parameter]
            parameterBytes = Self.align(parameterBytes, variable.alignment)
            parameters.append((parameterBytes, variable.size))
            parameterBytes += variable.size
        }
        var dynamic: [Int] = []
        var dynamicOfFunctions: [LocalVariable] = []
        var dynamicAlignment = 16
        for index in graph.reachable(from: kernel) {
            let linked = linker.functions[index]
            registers += linked.function.registers.reduce(0) { $0 + ($1.type.bits + 31) / 32 }
            for (position, variable) in linked.function.variables.enumerated() {
                if variable.space == .local {
                    localBytes += variable.size
                    frameAlignment = min(max(frameAlignment, variable.alignment), 4096)
                }
                guard variable.space == .shared else { continue }
                let key = LocalVariable(function: index, variable: position)
                if variable.count == 0 {
                    dynamicOfFunctions.append(key)
                    dynamicAlignment = max(dynamicAlignment, variable.alignment)
                } else {
                    sharedOfFunctions[key] = place(variable)
                }
            }
            for case .module(let name) in linked.function.names {
                guard case .variable(let position)? = linker.symbol(name, in: linked.module) else { continue }
                let variable = linker.variables[position].variable
                guard variable.space == .shared, sharedOfProgram[position] == nil else { continue }
                if variable.count == 0 {
                    dynamic.append(position)
                    dynamicAlignment = max(dynamicAlignment, variable.alignment)
                    sharedOfProgram[position] = 0
                } else {
                    sharedOfProgram[position] = place(variable)
                }
            }
        }
        // All dynamic arrays begin where the static part ends.
        if !dynamic.isEmpty || !dynamicOfFunctions.isEmpty {
            sharedBytes = Self.align(sharedBytes, dynamicAlignment)
            for position in dynamic { sharedOfProgram[position] = sharedBytes }
            for key in dynamicOfFunctions { sharedOfFunctions[key] = sharedBytes }
        }
    }

    private mutating func place(_ variable: Variable) -> Int {
        let offset = Self.align(sharedBytes, variable.alignment)
        sharedBytes = offset + variable.size
        return offset
    }

    static func align(_ offset: Int, _ alignment: Int) -> Int {
        let alignment = max(1, alignment)
        return (offset + alignment - 1) / alignment * alignment
    }
}

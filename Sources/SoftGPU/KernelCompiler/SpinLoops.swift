// SPDX-License-Identifier: Apache-2.0
import PTX

/// Finds the loops in which a thread waits for memory that another thread changes.
///
/// Such a thread must let others run, or it would wait forever: they share one core.
///
/// A loop spins when it can only be left by a condition that depends on an atomic or on a volatile or ordered load.
struct SpinLoops: Sendable {
    /// The statements that branch back in a spinning loop.
    private(set) var branches: Set<Int> = []

    init() {}

    init(of function: Function, isPollingCall: (String) -> Bool) {
        let graph = FlowGraph(function)
        for component in graph.loops() { scan(component, graph, function, isPollingCall) }
    }

    static func isPolling(_ instruction: Instruction) -> Bool {
        switch instruction.opcode {
        case "atom": true
        case "ld":
            instruction.has("volatile") || instruction.has("relaxed") || instruction.has("acquire")
                || instruction.has("cv") || instruction.has("mmio")
        default: false
        }
    }

    private mutating func scan(
        _ component: Set<Int>, _ graph: FlowGraph, _ function: Function, _ isPollingCall: (String) -> Bool
    ) {
        var instructions: [(statement: Int, instruction: Instruction)] = []
        for block in component.sorted() {
            for statement in graph.blocks[block].range {
                if case .instruction(let instruction) = function.statements[statement] {
                    instructions.append((statement, instruction))
                }
            }
        }
        // Next to a fence or a pause, plain loads are polls as well.
        let pollsPlainly = instructions.contains { ["membar", "fence", "nanosleep"].contains($0.instruction.opcode) }
        func isSource(_ instruction: Instruction) -> Bool {
            if Self.isPolling(instruction) || (pollsPlainly && instruction.opcode == "ld") { return true }
            guard instruction.opcode == "call" else { return false }
            return instruction.operands.contains { operand in
                guard case .name(let name, _) = operand, case .module(let callee) = function.names[name] else {
                    return false
                }
                return isPollingCall(callee)
            }
        }
        guard instructions.contains(where: { isSource($0.instruction) }) else { return }
        var tainted: Set<Int> = []
        var taintedVariables: Set<Int> = []
        var changed = true
        while changed {
            changed = false
            for (_, instruction) in instructions {
                guard let target = instruction.operands.first else { continue }
                let uses = instruction.operands.dropFirst().contains {
                    $0.mentions(tainted, taintedVariables)
                }
                let guarded = instruction.guardedBy.map { tainted.contains($0.register) } ?? false
                guard uses || guarded || isSource(instruction) else { continue }
                let before = tainted.count + taintedVariables.count
                target.collect(registers: &tainted, variables: &taintedVariables)
                if tainted.count + taintedVariables.count != before { changed = true }
            }
        }
        guard leaves(component, graph, function, tainted) else { return }
        for block in component {
            guard let last = graph.blocks[block].range.last, let target = graph.branchTarget(of: last),
                component.contains(graph.block(of: target)), target <= last
            else { continue }
            branches.insert(last)
        }
    }

    /// Whether a way out of the loop depends on a tainted register.
    private func leaves(
        _ component: Set<Int>, _ graph: FlowGraph, _ function: Function, _ tainted: Set<Int>
    ) -> Bool {
        for block in component {
            guard let last = graph.blocks[block].range.last,
                case .instruction(let instruction) = function.statements[last]
            else { continue }
            let isExit = ["ret", "exit", "trap"].contains(instruction.opcode)
            guard isExit || graph.blocks[block].successors.contains(where: { !component.contains($0) }) else {
                continue
            }
            if let guarded = instruction.guardedBy, tainted.contains(guarded.register) { return true }
            if instruction.opcode == "brx" { return true }
        }
        return false
    }
}

extension Operand {
    /// Whether any of these registers or variables occurs in the operand.
    func mentions(_ registers: Set<Int>, _ variables: Set<Int>) -> Bool {
        switch self {
        case .register(let register): registers.contains(register)
        case .variable(let variable, _): variables.contains(variable)
        case .address(let base, _, let rest):
            base.mentions(registers, variables) || rest.contains { $0.mentions(registers, variables) }
        case .vector(let operands), .list(let operands): operands.contains { $0.mentions(registers, variables) }
        case .pair(let first, let second):
            first.mentions(registers, variables) || second.mentions(registers, variables)
        case .not(let operand): operand.mentions(registers, variables)
        default: false
        }
    }

    /// Adds the registers, and variables in memory operands, that the operand names.
    func collect(registers: inout Set<Int>, variables: inout Set<Int>) {
        switch self {
        case .register(let register): registers.insert(register)
        case .variable(let variable, _): variables.insert(variable)
        case .address(.variable(let variable, _), _, _): variables.insert(variable)
        case .vector(let operands), .list(let operands):
            for operand in operands { operand.collect(registers: &registers, variables: &variables) }
        case .pair(let first, let second):
            first.collect(registers: &registers, variables: &variables)
            second.collect(registers: &registers, variables: &variables)
        default: break
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import PTX

/// Which functions a kernel can reach, and which of them must be compiled into it.
struct CallGraph: Sendable {
    /// What matters about one function by itself.
    struct Node: Sendable {
        var callees: [Int] = []
        var callsIndirectly = false
        /// Waits for other threads, or spins for something they do.
        var suspends = false
        /// Ends the thread from wherever it is.
        var exits = false
        /// Reads memory that others change: atomics, volatile and ordered loads.
        var polls = false
        var loops = SpinLoops()
    }

    private(set) var nodes: [Node]
    /// Functions whose address is taken; an indirect call may reach any of them.
    let addressTaken: [Int]

    init(_ linker: Linker) {
        nodes = Array(repeating: Node(), count: linker.functions.count)
        var taken: Set<Int> = []
        for variable in linker.variables {
            for case .address(let name, _, _, _) in variable.variable.initial {
                if case .function(let index)? = linker.symbol(name, in: variable.module) { taken.insert(index) }
            }
        }
        for index in linker.functions.indices { Self.scan(index, linker, &nodes[index], &taken) }
        addressTaken = taken.sorted()
        spread { node, callee in
            node.polls = node.polls || callee.polls
        }
        for index in linker.functions.indices {
            let polling = { [nodes] (name: String) -> Bool in
                guard case .function(let callee)? = linker.symbol(name, in: linker.functions[index].module) else {
                    return false
                }
                return nodes[callee].polls
            }
            nodes[index].loops = SpinLoops(of: linker.functions[index].function, isPollingCall: polling)
            if !nodes[index].loops.branches.isEmpty { nodes[index].suspends = true }
        }
        spread { node, callee in
            node.suspends = node.suspends || callee.suspends
            node.exits = node.exits || callee.exits
        }
    }

    /// Lets properties of callees reach their callers, until nothing changes.
    private mutating func spread(_ merge: (inout Node, Node) -> Void) {
        var changed = true
        while changed {
            changed = false
            for index in nodes.indices {
                let before = nodes[index]
                for callee in before.callees { merge(&nodes[index], nodes[callee]) }
                let after = nodes[index]
                if after.polls != before.polls || after.suspends != before.suspends || after.exits != before.exits {
                    changed = true
                }
            }
        }
    }

    private static func scan(_ index: Int, _ linker: Linker, _ node: inout Node, _ taken: inout Set<Int>) {
        let linked = linker.functions[index]
        for case .instruction(let instruction) in linked.function.statements {
            var operands = instruction.operands[...]
            switch instruction.opcode {
            case "call":
                let position = if case .list? = operands.first { 1 } else { 0 }
                guard position < operands.count else { break }
                if case .name(let name, _) = operands[position] {
                    if case .module(let callee) = linked.function.names[name],
                        case .function(let callee)? = linker.symbol(callee, in: linked.module)
                    {
                        node.callees.append(callee)
                    }
                } else {
                    node.callsIndirectly = true
                }
                operands = []
            case "exit": node.exits = true
            case "bar", "barrier":
                // Arriving does not wait.
                if !instruction.has("arrive") { node.suspends = true }
            case "shfl", "vote", "match", "redux", "activemask", "elect": node.suspends = true
            case "atom": node.polls = true
            case "ld": node.polls = node.polls || SpinLoops.isPolling(instruction)
            default: break
            }
            for operand in operands { note(operand, linked, linker, &taken) }
        }
    }

    /// Notes a function whose address an operand takes.
    private static func note(
        _ operand: Operand, _ linked: Linker.LinkedFunction, _ linker: Linker, _ taken: inout Set<Int>
    ) {
        if case .name(let name, _) = operand, case .module(let symbol) = linked.function.names[name],
            case .function(let index)? = linker.symbol(symbol, in: linked.module)
        {
            taken.insert(index)
        }
    }

    /// The functions that `kernel` can reach, itself first.
    func reachable(from kernel: Int) -> [Int] {
        var found = [kernel]
        var seen: Set<Int> = [kernel]
        var position = 0
        while position < found.count {
            let node = nodes[found[position]]
            position += 1
            for callee in node.callees + (node.callsIndirectly ? addressTaken : []) where seen.insert(callee).inserted {
                found.append(callee)
            }
        }
        return found
    }
}

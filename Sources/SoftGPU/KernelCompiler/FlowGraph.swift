// SPDX-License-Identifier: Apache-2.0
import PTX

/// The basic blocks of a function and where each goes on.
struct FlowGraph {
    struct Block {
        var range: Range<Int>
        var successors: [Int] = []
    }

    private(set) var blocks: [Block] = []
    private var blockOf: [Int]
    private var targets: [Int: Int] = [:]

    init(_ function: Function) {
        let statements = function.statements
        blockOf = Array(repeating: 0, count: statements.count)
        var labels = Array(repeating: statements.count, count: function.labelCount)
        for (index, statement) in statements.enumerated() {
            if case .label(let label) = statement { labels[label] = index }
        }
        var start = 0
        for (index, statement) in statements.enumerated() {
            if case .label = statement, index > start {
                blocks.append(Block(range: start..<index))
                start = index
            }
            if case .instruction(let instruction) = statement, Self.endsBlock(instruction) {
                blocks.append(Block(range: start..<index + 1))
                start = index + 1
            }
        }
        if start < statements.count { blocks.append(Block(range: start..<statements.count)) }
        for (index, block) in blocks.enumerated() {
            for statement in block.range { blockOf[statement] = index }
        }
        for index in blocks.indices { connect(index, function, labels) }
    }

    func block(of statement: Int) -> Int { blockOf[statement] }

    /// The statement that this branch goes to.
    func branchTarget(of statement: Int) -> Int? { targets[statement] }

    private static func endsBlock(_ instruction: Instruction) -> Bool {
        ["bra", "brx", "ret", "exit", "trap"].contains(instruction.opcode)
    }

    private mutating func connect(_ index: Int, _ function: Function, _ labels: [Int]) {
        guard let last = blocks[index].range.last else { return }
        var goesOn = true
        if case .instruction(let instruction) = function.statements[last], Self.endsBlock(instruction) {
            goesOn = instruction.guardedBy != nil
            for operand in instruction.operands {
                guard case .name(let name, _) = operand, case .label(let label) = function.names[name] else { continue }
                for label in function.branchTargets[label] ?? [label] where labels[label] < blockOf.count {
                    blocks[index].successors.append(blockOf[labels[label]])
                    if labels[label] <= last { targets[last] = labels[label] }
                }
            }
        }
        if goesOn, index + 1 < blocks.count { blocks[index].successors.append(index + 1) }
    }

    /// All loops, those inside of others too: the components, and for each branch backwards in one the blocks from
    /// which it is reached without passing its target.
    func loops() -> [Set<Int>] {
        var predecessors = Array(repeating: [Int](), count: blocks.count)
        for (index, block) in blocks.enumerated() {
            for successor in block.successors { predecessors[successor].append(index) }
        }
        var found: [Set<Int>] = []
        for component in components() {
            found.append(component)
            for tail in component {
                for head in blocks[tail].successors where head <= tail && component.contains(head) {
                    var loop: Set<Int> = [head]
                    var open = loop.insert(tail).inserted ? [tail] : []
                    while let block = open.popLast() {
                        for before in predecessors[block] where component.contains(before) {
                            if loop.insert(before).inserted { open.append(before) }
                        }
                    }
                    if loop != component { found.append(loop) }
                }
            }
        }
        return found
    }

    /// The strongly connected components that contain a cycle (Tarjan's algorithm, without recursion).
    private func components() -> [Set<Int>] {
        var order = Array(repeating: -1, count: blocks.count)
        var low = order
        var onStack = Array(repeating: false, count: blocks.count)
        var stack: [Int] = []
        var found: [Set<Int>] = []
        var counter = 0
        for root in blocks.indices where order[root] < 0 {
            var work = [(block: root, next: 0)]
            while let (block, next) = work.last {
                if next == 0 {
                    order[block] = counter
                    low[block] = counter
                    counter += 1
                    stack.append(block)
                    onStack[block] = true
                }
                if next < blocks[block].successors.count {
                    work[work.count - 1].next += 1
                    let successor = blocks[block].successors[next]
                    if order[successor] < 0 {
                        work.append((successor, 0))
                    } else if onStack[successor] {
                        low[block] = min(low[block], order[successor])
                    }
                    continue
                }
                work.removeLast()
                if let parent = work.last?.block { low[parent] = min(low[parent], low[block]) }
                guard low[block] == order[block] else { continue }
                var component: Set<Int> = []
                while let member = stack.popLast() {
                    onStack[member] = false
                    component.insert(member)
                    if member == block { break }
                }
                if component.count > 1 || blocks[block].successors.contains(block) { found.append(component) }
            }
        }
        return found
    }
}

// SPDX-License-Identifier: Apache-2.0
import PTX

/// The statements of a PTX function, in the LLVM function being written.
extension KernelEmitter {
    /// Writes a function into the current one; `storage` are pointers to its results and parameters.
    func emitInlined(_ index: Int, storage: [String]) throws(PTXError) {
        guard !inlining.contains(index) else {
            let name = program.linker.functions[index].function.name
            throw unsupported("recursion through '\(name)', which waits for other threads or ends its thread")
        }
        let caller = instance
        let callLine = line
        instances += 1
        let end = freshLabel()
        instance = Instance(function: index, number: instances, returnLabel: end)
        inlining.append(index)
        let function = function
        for (variable, pointer) in zip(function.returns + function.parameters, storage) {
            instance.storage[variable] = pointer
        }
        try emitStatements()
        if !isTerminated { branch(end) }
        begin(end)
        inlining.removeLast()
        instance = caller
        line = callLine
    }

    func emitStatements() throws(PTXError) {
        let function = function
        let spins = program.graph.nodes[instance.function].loops.branches
        for (index, statement) in function.statements.enumerated() {
            switch statement {
            case .label(let label):
                if !isTerminated { branch(labelName(label)) }
                begin(labelName(label))
            case .instruction(let instruction):
                // What follows a jump without a label is never reached, but LLVM wants it in a block.
                if isTerminated { begin(freshLabel()) }
                line = instruction.line
                instructionsLeft -= 1
                guard instructionsLeft > 0 else { throw unsupported("the kernel is too large") }
                try emitGuarded(instruction, yields: isInCoroutine && spins.contains(index))
            }
        }
    }

    func labelName(_ label: Int) -> String { "L\(instance.number).\(label)" }

    private func emitGuarded(_ instruction: Instruction, yields: Bool) throws(PTXError) {
        guard let guarded = instruction.guardedBy else {
            if yields { emitYield() }
            return try emitInstruction(instruction)
        }
        var condition = try read(.register(guarded.register), .pred)
        if guarded.isNegated { condition = compute(.i1, "xor i1 \(condition.text), true") }
        let then = freshLabel()
        let next = freshLabel()
        branch(if: condition, then, else: next)
        begin(then)
        if yields { emitYield() }
        try emitInstruction(instruction)
        if !isTerminated { branch(next) }
        begin(next)
    }
}

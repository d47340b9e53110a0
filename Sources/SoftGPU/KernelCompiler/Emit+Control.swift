// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import PTX

/// Branches, and the end of threads.
extension KernelEmitter {
    private func label(_ operand: Operand) throws(PTXError) -> Int {
        guard case .name(let index, _) = operand, case .label(let label) = function.names[index] else {
            throw invalid("a label is expected")
        }
        return label
    }

    func emitBranch(_ i: Instruction) throws(PTXError) {
        branch(labelName(try label(try operand(i, 0))))
    }

    func emitBranchIndexed(_ i: Instruction) throws(PTXError) {
        let index = try source(i, 0, .u32)
        guard let targets = function.branchTargets[try label(try operand(i, 1))], let last = targets.last else {
            throw invalid("'\(i.spelling)' needs a list of branch targets")
        }
        // An index out of range is undefined; the last target is taken.
        let cases = targets.enumerated().map { "i32 \($0.offset), label %\(labelName($0.element))" }
        emit("switch \(index.typed), label %\(labelName(last)) [\(cases.joined(separator: " "))]")
        isTerminated = true
    }

    func emitTrap() {
        emitRuntimeCall("sg_trap", [blockArgument(), integer(Int(SG_TRAPPED.rawValue), .i32)])
        emit("unreachable")
        isTerminated = true
    }

    /// A function of the runtime that returns nothing.
    func emitRuntimeCall(_ name: String, _ arguments: [Value]) {
        declare(name, "void @\(name)(\(arguments.map(\.type.rawValue).joined(separator: ", ")))")
        emit("call void @\(name)(\(arguments.map(\.typed).joined(separator: ", ")))")
    }
}

// SPDX-License-Identifier: Apache-2.0
import PTX

extension KernelEmitter {
    /// Writes one instruction; its guard is already dealt with.
    func emitInstruction(_ i: Instruction) throws(PTXError) {
        switch i.opcode {
        // Moves and memory.
        case "mov": try emitMove(i)
        case "ld", "ldu": try emitLoad(i)
        case "st": try emitStore(i)
        case "atom": try emitAtomic(i, hasResult: true)
        case "red": try emitAtomic(i, hasResult: false)
        case "cvta": try emitAddressConversion(i)
        case "isspacep": try emitIsSpace(i)
        case "membar", "fence": emitFence(i)
        case "prefetch", "prefetchu", "discard", "applypriority", "griddepcontrol", "pmevent", "setmaxnreg": break

        // Arithmetic.
        case "add", "sub": try emitAddSub(i)
        case "addc", "subc": try emitAddSubCarry(i)
        case "mul": try emitMultiply(i)
        case "mad", "madc", "fma": try emitMultiplyAdd(i)
        case "mul24", "mad24": try emitMultiply24(i)
        case "sad": try emitSumOfDifference(i)
        case "div", "rem": try emitDivide(i)
        case "abs", "neg": try emitSign(i)
        case "min", "max": try emitMinMax(i)
        case "dp4a", "dp2a": try emitDotProduct(i)
        case "copysign": try emitCopySign(i)
        case "rcp", "sqrt", "rsqrt": try emitRoot(i)
        case "sin", "cos", "ex2", "lg2", "tanh": try emitTranscendental(i)
        case "testp": try emitTestProperty(i)

        // Bits.
        case "and", "or", "xor", "not", "cnot": try emitLogic(i)
        case "lop3": try emitLogic3(i)
        case "shl", "shr": try emitShift(i)
        case "shf": try emitFunnelShift(i)
        case "prmt": try emitPermute(i)
        case "popc", "clz", "brev", "bfind": try emitBitCount(i)
        case "bfe": try emitBitFieldExtract(i)
        case "bfi": try emitBitFieldInsert(i)
        case "bmsk", "szext": try emitBitMask(i)
        case "fns": try emitFindNthSet(i)

        // Comparison, selection, conversion.
        case "setp": try emitSetPredicate(i)
        case "set": try emitSet(i)
        case "selp", "slct": try emitSelect(i)
        case "cvt": try emitConvert(i)

        // Control.
        case "bra": try emitBranch(i)
        case "brx": try emitBranchIndexed(i)
        case "ret": branch(instance.returnLabel)
        case "exit": branch("thread.end")
        case "call": try emitCall(i)
        case "trap", "brkpt": emitTrap()
        case "nanosleep": try emitSleep(i)

        // Textures and surfaces.
        case "tex": try emitTexture(i)
        case "tld4": try emitGather(i)
        case "txq": try emitQuery(i, isSurface: false)
        case "suq": try emitQuery(i, isSurface: true)
        case "suld": try emitSurfaceLoad(i)
        case "sust": try emitSurfaceStore(i)
        case "sured": try emitSurfaceReduction(i)

        // Threads together.
        case "bar", "barrier": try emitBarrier(i)
        case "shfl": try emitShuffle(i)
        case "vote": try emitVote(i)
        case "match": try emitMatch(i)
        case "redux": try emitReduce(i)
        case "activemask": try emitActiveMask(i)
        case "elect": try emitElect(i)
        default: throw unsupported("the instruction '\(i.spelling)' is not supported by the software GPU")
        }
    }

    /// The only type of an instruction.
    func type(_ i: Instruction, _ position: Int = 0) throws(PTXError) -> ScalarType {
        guard position < i.types.count else { throw invalid("'\(i.spelling)' lacks a type") }
        return i.types[position]
    }

    func operand(_ i: Instruction, _ position: Int) throws(PTXError) -> Operand {
        guard position < i.operands.count else { throw invalid("'\(i.spelling)' lacks an operand") }
        return i.operands[position]
    }

    /// Reads the operand at `position` with the instruction's type.
    func source(_ i: Instruction, _ position: Int, _ type: ScalarType) throws(PTXError) -> Value {
        try read(try operand(i, position), type)
    }

    /// Writes the result of an instruction to its first operand.
    func finish(_ i: Instruction, _ value: Value, _ type: ScalarType) throws(PTXError) {
        try write(value, to: try operand(i, 0), type)
    }

    func unsupportedForm(_ i: Instruction) -> PTXError {
        unsupported("the instruction '\(i.spelling)' is not supported by the software GPU")
    }

    // Shorthands for LLVM instructions.

    func binary(_ operation: String, _ a: Value, _ b: Value) -> Value {
        compute(a.type, "\(operation) \(a.typed), \(b.text)")
    }

    func binary(_ operation: String, _ a: Value, _ b: Int) -> Value {
        compute(a.type, "\(operation) \(a.typed), \(b)")
    }

    func compare(_ operation: String, _ a: Value, _ b: Value) -> Value {
        compute(.i1, "\(a.type.isInteger ? "icmp" : "fcmp") \(operation) \(a.typed), \(b.text)")
    }

    func compare(_ operation: String, _ a: Value, _ b: Int) -> Value {
        compute(.i1, "icmp \(operation) \(a.typed), \(b)")
    }

    func select(_ condition: Value, _ a: Value, _ b: Value) -> Value {
        compute(a.type, "select i1 \(condition.text), \(a.typed), \(b.typed)")
    }

    func intrinsic(_ name: String, _ arguments: Value...) -> Value {
        call(arguments[0].type, "llvm.\(name).\(arguments[0].type.suffix)", arguments)
    }
}

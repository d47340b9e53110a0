// SPDX-License-Identifier: Apache-2.0

/// The instructions of PTX ISA 9.x by name.
///
/// A word that is not among them is a mistake in the text; one that is, but that the compiler has no code for, is
/// reported as unsupported when its kernel is compiled.
enum Opcodes {
    static func isKnown(_ name: String) -> Bool { all.contains(name) }

    private static let all: Set<String> = [
        "abs", "activemask", "add", "addc", "alloca", "and", "applypriority", "atom", "bar", "barrier", "bfe", "bfi",
        "bfind", "bmsk", "bra", "brev", "brkpt", "brx", "call", "clmad", "clusterlaunchcontrol", "clz", "cnot",
        "copysign", "cos", "cp", "createpolicy", "cvt", "cvta", "discard", "div", "dp2a", "dp4a", "elect", "ex2",
        "exit", "fence", "fma", "fns", "getctarank", "griddepcontrol", "isspacep", "istypep", "ld", "ldmatrix", "ldu",
        "lg2", "lop3", "mad", "mad24", "madc", "mapa", "match", "max", "mbarrier", "membar", "min", "mma", "mov",
        "movmatrix", "mul", "mul24", "multimem", "nanosleep", "neg", "not", "or", "pmevent", "popc", "prefetch",
        "prefetchu", "prmt", "rcp", "red", "redux", "rem", "ret", "rsqrt", "sad", "selp", "set", "setmaxnreg", "setp",
        "shf", "shfl", "shl", "shr", "sin", "slct", "sqrt", "st", "stackrestore", "stacksave", "stmatrix", "sub",
        "subc", "suld", "suq", "sured", "sust", "szext", "tanh", "tcgen05", "tensormap", "testp", "tex", "tld4", "trap",
        "txq", "vabsdiff", "vabsdiff2", "vabsdiff4", "vadd", "vadd2", "vadd4", "vavrg2", "vavrg4", "vmad", "vmax",
        "vmax2", "vmax4", "vmin", "vmin2", "vmin4", "vote", "vset", "vset2", "vset4", "vshl", "vshr", "vsub", "vsub2",
        "vsub4", "wgmma", "wmma", "xor", "st.async",
    ]
}

/// The registers that the machine fills in (PTX ISA, "Special Registers").
enum SpecialRegisters {
    static func isKnown(_ name: String) -> Bool {
        if all.contains(name) { return true }
        return name.hasPrefix("envreg") && Int(name.dropFirst(6)).map { $0 < 32 } == true
    }

    private static let all: Set<String> = {
        var names: Set<String> = [
            "laneid", "warpid", "nwarpid", "smid", "nsmid", "gridid", "lanemask_eq", "lanemask_le", "lanemask_lt",
            "lanemask_ge", "lanemask_gt", "clock", "clock_hi", "clock64", "globaltimer", "globaltimer_lo",
            "globaltimer_hi", "total_smem_size", "aggr_smem_size", "dynamic_smem_size", "current_graph_exec",
            "is_explicit_cluster", "cluster_ctarank", "cluster_nctarank", "reserved_smem_offset_begin",
            "reserved_smem_offset_end", "reserved_smem_offset_cap",
        ]
        for vector in ["tid", "ntid", "ctaid", "nctaid", "clusterid", "nclusterid", "cluster_ctaid", "cluster_nctaid"] {
            for axis in ["x", "y", "z", "w"] { names.insert("\(vector).\(axis)") }
        }
        return names
    }()
}

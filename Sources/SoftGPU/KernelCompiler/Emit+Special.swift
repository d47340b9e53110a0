// SPDX-License-Identifier: Apache-2.0
import PTX

/// Special registers.
extension KernelEmitter {
    func special(_ name: String) throws(PTXError) -> Value {
        switch name {
        case "tid.x", "tid.y", "tid.z": return Value(text: "%\(name)", type: .i32)
        case "ntid.x", "ntid.y", "ntid.z": return field(BlockField.ntid + axis(name), .i32)
        case "ctaid.x", "ctaid.y", "ctaid.z": return field(BlockField.ctaid + axis(name), .i32)
        case "nctaid.x", "nctaid.y", "nctaid.z": return field(BlockField.nctaid + axis(name), .i32)
        case "laneid": return binary("and", Value(text: "%linear", type: .i32), 31)
        case "warpid": return binary("lshr", Value(text: "%linear", type: .i32), 5)
        case "nwarpid": return integer(32, .i32)
        case "smid": return field(BlockField.processor, .i32)
        case "nsmid": return integer(program.processors, .i32)
        case "gridid": return field(BlockField.grid, .i64)
        case "clock": return resize(clock(), .i32, signed: false)
        case "clock_hi": return resize(binary("lshr", clock(), 32), .i32, signed: false)
        case "clock64": return clock()
        case "globaltimer": return globalTimer()
        case "globaltimer_lo": return resize(globalTimer(), .i32, signed: false)
        case "globaltimer_hi": return resize(binary("lshr", globalTimer(), 32), .i32, signed: false)
        case "dynamic_smem_size": return field(BlockField.dynamicShared, .i32)
        case "total_smem_size", "aggr_smem_size": return field(BlockField.totalShared, .i32)
        // A block is its own cluster.
        case "cluster_nctarank", "cluster_nctaid.x", "cluster_nctaid.y", "cluster_nctaid.z": return integer(1, .i32)
        case "clusterid.x", "clusterid.y", "clusterid.z": return field(BlockField.ctaid + axis(name), .i32)
        case "nclusterid.x", "nclusterid.y", "nclusterid.z": return field(BlockField.nctaid + axis(name), .i32)
        // The address of the launch's workspace for grid barriers, upper half first.
        case "envreg2": return resize(field(BlockField.cooperation, .i64), .i32, signed: false)
        case "envreg1": return resize(binary("lshr", field(BlockField.cooperation, .i64), 32), .i32, signed: false)
        default:
            if name.hasPrefix("lanemask_") { return laneMask(name) }
            return integer(0, name == "current_graph_exec" ? .i64 : .i32)
        }
    }

    private func axis(_ name: String) -> Int { name.hasSuffix("x") ? 0 : name.hasSuffix("y") ? 4 : 8 }

    private func field(_ offset: Int, _ type: LLVMType) -> Value {
        let pointer = fresh()
        emit("\(pointer) = getelementptr i8, ptr %block, i64 \(offset)")
        return compute(type, "load \(type.rawValue), ptr \(pointer), !invariant.load !4")
    }

    private func clock() -> Value { call(.i64, "llvm.readcyclecounter", []) }

    private func globalTimer() -> Value { call(.i64, "sg_global_timer", []) }

    private func laneMask(_ name: String) -> Value {
        let lane = binary("and", Value(text: "%linear", type: .i32), 31)
        let own = compute(.i32, "shl i32 1, \(lane.text)")
        let below = binary("sub", own, 1)
        switch name {
        case "lanemask_eq": return own
        case "lanemask_lt": return below
        case "lanemask_le": return binary("or", own, below)
        case "lanemask_ge": return binary("xor", below, -1)
        default: return binary("xor", binary("or", own, below), -1)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization

extension Shim {
    /// Writes a graph in the language of Graphviz.
    func cuGraphDebugDotPrint(
        _ hGraph: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ flags: UInt32
    ) throws(CUDAError) {
        let graph = try self.graph(hGraph)
        guard let path, flags < 1 << 18 else { throw .invalidValue }
        let isVerbose = flags & CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE.rawValue != 0
        var text = "digraph dot {\n"
        append(graph, to: &text, isVerbose: isVerbose, handles: flags & 1 << 10 != 0)
        text += "}\n"
        guard let file = fopen(path, "we") else { throw CUDAError(CUDA_ERROR_OPERATING_SYSTEM) }
        let isWritten = fputs(text, file) >= 0
        guard fclose(file) == 0, isWritten else { throw CUDAError(CUDA_ERROR_OPERATING_SYSTEM) }
    }

    private func append(_ graph: Graph, to text: inout String, isVerbose: Bool, handles: Bool) {
        let structure = graph.structure.withLock { $0 }
        text += "subgraph cluster_\(graph.id) {\nlabel=\"graph_\(graph.id)\"\n"
        var children: [Graph] = []
        for (number, node) in structure.nodes.enumerated() {
            guard let node else { continue }
            var label = "\(number)\\n\(node.work.label(isVerbose: isVerbose))"
            if handles { label += "\\n0x\(String(node.bits, radix: 16))" }
            text += "\"graph_\(graph.id)_node_\(number)\"[shape=\"rectangle\" label=\"\(label)\"];\n"
            if case .graph(let child) = node.work { children.append(child) }
            if case .conditional(let conditional) = node.work { children += conditional.bodies }
            for edge in node.dependencies {
                text += "\"graph_\(graph.id)_node_\(edge.node)\" -> \"graph_\(graph.id)_node_\(number)\";\n"
            }
        }
        for child in children { append(child, to: &text, isVerbose: isVerbose, handles: handles) }
        text += "}\n"
    }
}

extension NodeWork {
    fileprivate func label(isVerbose: Bool) -> String {
        switch self {
        case .kernel(let kernel):
            let shape = kernel.geometry
            let name = kernel.function.name.string
            guard isVerbose else { return name }
            return name + "\\n<<<(\(shape.gridX),\(shape.gridY),\(shape.gridZ)),"
                + "(\(shape.blockX),\(shape.blockY),\(shape.blockZ)),\(shape.dynamicSharedBytes)>>>"
        case .copy(let copy): return isVerbose ? "MEMCPY\\n\(copy.byteCount) bytes" : "MEMCPY"
        case .set(let set):
            return isVerbose ? "MEMSET\\n\(set.description.width) x \(set.description.height)" : "MEMSET"
        case .host: return "HOST"
        case .graph: return "CHILD_GRAPH"
        case .empty: return "EMPTY"
        case .wait: return "EVENT_WAIT"
        case .record: return "EVENT_RECORD"
        case .allocate(let allocation): return isVerbose ? "MEM_ALLOC\\n\(allocation.byteCount) bytes" : "MEM_ALLOC"
        case .free: return "MEM_FREE"
        case .values: return "BATCH_MEM_OP"
        case .conditional(let node): return isVerbose ? "CONDITIONAL\\n\(node.work.kind)" : "CONDITIONAL"
        }
    }
}

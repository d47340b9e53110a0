// SPDX-License-Identifier: Apache-2.0
package import Driver
import Wire

// Graphs that the server's driver performs by itself. A launch of one is a frame like any other.

extension RemoteDriver {
    package func cuGraphInstantiate(_ context: ContextHandle, plan: GraphPlan) throws(CUDAError) -> GraphHandle {
        let made = newHandle()
        var payload = PayloadWriter()
        payload.write(made)
        payload.write(plan)
        let bytes = payload.bytes
        guard bytes.count <= Limits.frameBytesMax else { throw .outOfMemory }
        let (status, _) = try bytes.span.bytes.withUnsafeBytes { block throws(CUDAError) in
            try callWithBlock(.cuGraphInstantiate, context, byteCount: 0, block: block) { _ in }
        }
        try check(status)
        return GraphHandle(bits: made)
    }

    package func cuGraphExecUpdate_v2(
        _ context: ContextHandle, graph: GraphHandle, plan: GraphPlan
    ) throws(CUDAError) {
        var payload = PayloadWriter()
        payload.write(graph.bits)
        payload.write(plan)
        let bytes = payload.bytes
        guard bytes.count <= Limits.frameBytesMax else { throw .outOfMemory }
        let (status, _) = try bytes.span.bytes.withUnsafeBytes { block throws(CUDAError) in
            try callWithBlock(.cuGraphExecUpdate_v2, context, byteCount: 0, block: block) { _ in }
        }
        try check(status)
    }

    package func cuGraphExecNodeSetParams(
        _ context: ContextHandle, graph: GraphHandle, node: Int, work: DeviceWork
    ) throws(CUDAError) {
        var payload = PayloadWriter()
        payload.write(graph.bits)
        payload.write(UInt32(truncatingIfNeeded: node))
        payload.write(work)
        try post(.cuGraphExecNodeSetParams, context, byteCount: payload.bytes.count) { frame in
            payload.bytes.withUnsafeBytes { frame.write(bytes: $0) }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package import CCUDA

/// A graph that a driver performs by itself: kernels, copies and sets of device memory, and their order.
///
/// The nodes of the bodies of its conditional nodes stand behind its own, body by body, in the order of the conditional
/// nodes: a node is named by one position, wherever it belongs.
package struct GraphPlan: Sendable, Equatable {
    package struct Node: Sendable, Equatable {
        /// Where the node runs.
        package var context: ContextHandle
        package var work: DeviceWork
        /// Nodes of the same graph that must be done before, by their position; every one comes earlier in the plan.
        package var dependencies: [Int]

        package init(context: ContextHandle, work: DeviceWork, dependencies: [Int]) {
            self.context = context
            self.work = work
            self.dependencies = dependencies
        }
    }

    /// More nodes than any program launches as one graph; larger graphs are launched node by node.
    package static var nodesMax: Int { 1 << 20 }

    /// Bodies in one plan.
    package static var bodiesMax: Int { 1 << 16 }

    package var nodes: [Node]
    /// How many nodes each body has.
    package var bodyCounts: [Int]
    /// The graph that was begun when the first condition was made; none for a plan without conditions.
    package var draft: GraphDraftHandle

    package init(nodes: [Node], bodyCounts: [Int] = [], draft: GraphDraftHandle = .none) {
        self.nodes = nodes
        self.bodyCounts = bodyCounts
        self.draft = draft
    }

    /// Where each node belongs, as a driver may count on; nil for a plan that contradicts itself.
    package var layout: GraphLayout? { GraphLayout(self) }
}

/// What a node of a ``GraphPlan`` does.
package enum DeviceWork: Sendable, Equatable {
    /// `parameters` is the packed parameter block of the kernel's layout.
    case kernel(FunctionHandle, LaunchGeometry, parameters: [UInt8])
    case copy(target: DeviceBox, source: DeviceBox, Extent)
    case set(DeviceSet)
    case conditional(ConditionalWork)
    /// Nothing: a node that only orders others, or one that is switched off.
    case empty
}

/// Rows of device memory that are set to one value.
package struct DeviceSet: Sendable, Equatable, BitwiseCopyable {
    package var address: CUdeviceptr
    /// Bytes from one row to the next; of no meaning for one row.
    package var pitch: Int
    package var value: UInt32
    /// 1, 2 or 4.
    package var elementBytes: UInt32
    /// Elements of a row.
    package var width: Int
    package var height: Int

    package init(
        address: CUdeviceptr, pitch: Int, value: UInt32, elementBytes: UInt32, width: Int, height: Int
    ) {
        self.address = address
        self.pitch = pitch
        self.value = value
        self.elementBytes = elementBytes
        self.width = width
        self.height = height
    }
}

extension Driver {
    /// Enqueues the work of one node by the call that does it outside a graph.
    ///
    /// CUDA_ERROR_NOT_SUPPORTED for a conditional node, which has none.
    package func enqueue(
        _ work: DeviceWork, _ context: ContextHandle, _ stream: StreamHandle
    ) throws(CUDAError) {
        switch work {
        case .kernel(let function, let geometry, let parameters):
            var problem: CUDAError?
            parameters.withUnsafeBytes { bytes in
                do throws(CUDAError) {
                    try cuLaunchKernel(context, f: function, geometry, stream: stream, parameters: bytes)
                } catch { problem = error }
            }
            if let problem { throw problem }
        case .copy(let target, let source, let extent)
        where extent.height == 1 && extent.depth == 1 && !target.isInArray && !source.isInArray:
            try cuMemcpyDtoDAsync_v2(
                context, dstDevice: target.address, srcDevice: source.address, byteCount: extent.widthBytes,
                hStream: stream)
        case .copy(let target, let source, let extent):
            try cuMemcpy3DAsync_v2(context, target: target, source: source, extent: extent, stream: stream)
        case .set(let set): try enqueue(set, context, stream)
        case .conditional: throw .notSupported
        case .empty: break
        }
    }

    package func enqueue(_ set: DeviceSet, _ context: ContextHandle, _ stream: StreamHandle) throws(CUDAError) {
        let byte = UInt8(truncatingIfNeeded: set.value)
        let half = UInt16(truncatingIfNeeded: set.value)
        switch (set.elementBytes, set.height == 1) {
        case (1, true):
            try cuMemsetD8Async(context, dstDevice: set.address, uc: byte, n: set.width, hStream: stream)
        case (2, true):
            try cuMemsetD16Async(context, dstDevice: set.address, us: half, n: set.width, hStream: stream)
        case (4, true):
            try cuMemsetD32Async(context, dstDevice: set.address, ui: set.value, n: set.width, hStream: stream)
        case (1, false):
            try cuMemsetD2D8Async(
                context, dstDevice: set.address, dstPitch: set.pitch, uc: byte, width: set.width, height: set.height,
                hStream: stream)
        case (2, false):
            try cuMemsetD2D16Async(
                context, dstDevice: set.address, dstPitch: set.pitch, us: half, width: set.width, height: set.height,
                hStream: stream)
        case (4, false):
            try cuMemsetD2D32Async(
                context, dstDevice: set.address, dstPitch: set.pitch, ui: set.value, width: set.width,
                height: set.height, hStream: stream)
        default: throw .invalidValue
        }
    }
}

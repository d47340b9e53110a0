// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What a node of a graph does.
enum NodeWork: Sendable {
    case kernel(KernelWork)
    case copy(CopyWork)
    case set(SetWork)
    case host(HostWork)
    /// The graph belongs to the node.
    case graph(Graph)
    case empty
    case wait(Event)
    case record(Event)
    case allocate(GraphAllocation)
    case free(GraphAllocation)
    case values(ValuesWork)
    /// The bodies belong to the node.
    case conditional(ConditionalNode)

    var type: CUgraphNodeType {
        switch self {
        case .kernel: CU_GRAPH_NODE_TYPE_KERNEL
        case .copy: CU_GRAPH_NODE_TYPE_MEMCPY
        case .set: CU_GRAPH_NODE_TYPE_MEMSET
        case .host: CU_GRAPH_NODE_TYPE_HOST
        case .graph: CU_GRAPH_NODE_TYPE_GRAPH
        case .empty: CU_GRAPH_NODE_TYPE_EMPTY
        case .wait: CU_GRAPH_NODE_TYPE_WAIT_EVENT
        case .record: CU_GRAPH_NODE_TYPE_EVENT_RECORD
        case .allocate: CU_GRAPH_NODE_TYPE_MEM_ALLOC
        case .free: CU_GRAPH_NODE_TYPE_MEM_FREE
        case .values: CU_GRAPH_NODE_TYPE_BATCH_MEM_OP
        case .conditional: CU_GRAPH_NODE_TYPE_CONDITIONAL
        }
    }

    /// Whether it is a memory node, or a child graph with one: such graphs can be neither cloned nor changed.
    var isMemory: Bool {
        switch self {
        case .allocate, .free: true
        case .graph(let graph): graph.structure.withLock { $0.hasMemoryNodes }
        default: false
        }
    }

    /// The context in which it runs, or nil where any will do.
    var context: Context? {
        switch self {
        case .kernel(let kernel): kernel.function.context
        case .copy(let copy): copy.context
        case .set(let set): set.context
        case .record(let event): event.context
        case .values(let values): values.context
        case .conditional(let node): node.context
        case .host, .graph, .empty, .wait, .allocate, .free: nil
        }
    }

    /// Whether CUDA allows it in the body of a conditional node.
    var isAllowedInBodies: Bool {
        switch self {
        case .kernel, .copy, .set, .graph, .conditional, .empty: true
        case .host, .wait, .record, .allocate, .free, .values: false
        }
    }

    /// Whether it writes host memory that a later node may read.
    var writesHostMemory: Bool {
        switch self {
        case .host: true
        case .copy(let copy): copy.target.side.isHost
        case .set(let set): !set.isOnDevice
        // What a stream writes into memory that host and device use by turns is fetched when the host touches it.
        default: false
        }
    }
}

/// A launch of a kernel.
struct KernelWork: @unchecked Sendable {
    // SAFETY: attribute values are plain numbers; those with an event are refused.
    let function: Function
    /// What the application passed: a CUfunction, or a CUkernel.
    let handleBits: UInt64
    let isKernelHandle: Bool
    var geometry: LaunchGeometry
    var parameters: ParameterBlock
    var attributes: [UInt32: CUlaunchAttributeValue] = [:]
}

/// The values of a kernel's parameters, in a place that stays as long as the block.
///
/// CUDA hands out pointers to them, which are good until the node's parameters change.
final class ParameterBlock: @unchecked Sendable {
    // SAFETY: written by `init` only.
    let bytes: UnsafeRawBufferPointer
    /// The address of each parameter.
    let pointers: UnsafeMutablePointer<UnsafeMutableRawPointer?>

    init(_ source: UnsafeRawBufferPointer, layout: [KernelParameter]) {
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: source.count, alignment: 16)
        block.copyMemory(from: source)
        bytes = UnsafeRawBufferPointer(block)
        pointers = .allocate(capacity: max(layout.count, 1))
        for (index, parameter) in layout.enumerated() {
            (pointers + index).initialize(to: block.baseAddress.map { $0 + parameter.offset })
        }
    }

    deinit {
        bytes.deallocate()
        pointers.deallocate()
    }
}

/// A copy, checked and with its places found.
struct CopyWork: @unchecked Sendable {
    // SAFETY: the pointers in the description are only given back to the application.
    let description: CUDA_MEMCPY3D
    let context: Context
    let target: PlacedBox
    let source: PlacedBox
    let extent: Extent

    var byteCount: Int { extent.byteCount ?? 0 }
    var isEmpty: Bool { byteCount == 0 }
}

/// A set, checked.
struct SetWork: Sendable {
    let description: DeviceSet
    let context: Context
    let isOnDevice: Bool
}

/// Values that a stream writes and waits for, checked.
final class ValuesWork: @unchecked Sendable {
    // SAFETY: the memory is written by `init` only.
    let operations: [StreamMemoryOperation]
    let context: Context
    /// As applications see them, for as long as the node's parameters do not change.
    let parameters: UnsafeMutableBufferPointer<CUstreamBatchMemOpParams>

    init(operations: [StreamMemoryOperation], context: Context) {
        self.operations = operations
        self.context = context
        parameters = .allocate(capacity: operations.count)
        _ = parameters.initialize(from: operations.map(\.asC))
    }

    deinit { parameters.deallocate() }

    var asC: CUDA_BATCH_MEM_OP_NODE_PARAMS {
        CUDA_BATCH_MEM_OP_NODE_PARAMS(
            ctx: OpaquePointer(bitPattern: UInt(context.bits)), count: UInt32(operations.count),
            paramArray: parameters.baseAddress, flags: 0)
    }

    /// Whether an executable graph can have this in the place of the other: only addresses and values may differ.
    func canReplace(_ old: ValuesWork) -> Bool {
        let flush = CU_STREAM_WAIT_VALUE_FLUSH.rawValue
        return context === old.context && operations.count == old.operations.count
            && zip(operations, old.operations).allSatisfy { new, old in
                new.kind == old.kind && (new.isWait ? (new.flags ^ old.flags) & flush == 0 : new.flags == old.flags)
            }
    }
}

/// A host function with its argument.
///
/// The application answers for calling it on another thread.
struct HostWork: @unchecked Sendable {
    let function: CUhostFn
    let argument: UnsafeMutableRawPointer?
}

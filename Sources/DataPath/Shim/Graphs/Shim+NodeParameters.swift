// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What a node does: told, and replaced by something of the same kind.
extension Shim {
    /// Replaces what a node does; its kind stays.
    func setWork(_ node: GraphNode, _ change: (NodeWork) throws(CUDAError) -> NodeWork) throws(CUDAError) {
        let changed = try change(try work(node))
        try node.graph.structure.withLock { structure throws(CUDAError) in
            guard try structure[node.number].work.type == changed.type else { throw .invalidValue }
            structure.setWork(changed, of: node.number)
        }
    }

    // MARK: Kernels

    func cuGraphKernelNodeGetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafeMutablePointer<CUDA_KERNEL_NODE_PARAMS_v1>?
    ) throws(CUDAError) {
        let parameters = try kernel(hNode).asC
        try write(
            CUDA_KERNEL_NODE_PARAMS_v1(
                func: parameters.func ?? parameters.kern, gridDimX: parameters.gridDimX,
                gridDimY: parameters.gridDimY, gridDimZ: parameters.gridDimZ, blockDimX: parameters.blockDimX,
                blockDimY: parameters.blockDimY, blockDimZ: parameters.blockDimZ,
                sharedMemBytes: parameters.sharedMemBytes, kernelParams: parameters.kernelParams, extra: nil),
            to: nodeParams)
    }

    func cuGraphKernelNodeGetParams_v2(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafeMutablePointer<CUDA_KERNEL_NODE_PARAMS>?
    ) throws(CUDAError) {
        try write(try kernel(hNode).asC, to: nodeParams)
    }

    func cuGraphKernelNodeSetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafePointer<CUDA_KERNEL_NODE_PARAMS_v1>?
    ) throws(CUDAError) {
        try setKernel(hNode, CUDA_KERNEL_NODE_PARAMS(nodeParams))
    }

    func cuGraphKernelNodeSetParams_v2(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafePointer<CUDA_KERNEL_NODE_PARAMS>?
    ) throws(CUDAError) {
        try setKernel(hNode, nodeParams?.pointee)
    }

    private func setKernel(_ hNode: OpaquePointer?, _ parameters: CUDA_KERNEL_NODE_PARAMS?) throws(CUDAError) {
        try setWork(try node(hNode)) { old throws(CUDAError) in .kernel(try kernelWork(parameters, replacing: old)) }
    }

    /// A launch with the attributes of the one that it replaces.
    func kernelWork(
        _ parameters: CUDA_KERNEL_NODE_PARAMS?, replacing old: NodeWork
    ) throws(CUDAError) -> KernelWork {
        guard case .kernel(let old) = old else { throw .invalidValue }
        var work = try kernelWork(parameters)
        work.attributes = old.attributes
        work.geometry.attributeBits = old.geometry.attributeBits
        return work
    }

    private func kernel(_ hNode: OpaquePointer?) throws(CUDAError) -> KernelWork {
        guard case .kernel(let kernel) = try work(try node(hNode)) else { throw .invalidValue }
        return kernel
    }

    func cuGraphKernelNodeGetAttribute(
        _ hNode: OpaquePointer?, _ attr: CUlaunchAttributeID, _ value_out: UnsafeMutablePointer<CUlaunchAttributeValue>?
    ) throws(CUDAError) {
        try write(try kernel(hNode).attributes[attr.rawValue] ?? CUlaunchAttributeValue(), to: value_out)
    }

    func cuGraphKernelNodeSetAttribute(
        _ hNode: OpaquePointer?, _ attr: CUlaunchAttributeID, _ value: UnsafePointer<CUlaunchAttributeValue>?
    ) throws(CUDAError) {
        guard let value else { throw .invalidValue }
        try setWork(try node(hNode)) { old throws(CUDAError) in
            guard case .kernel(var kernel) = old else { throw .invalidValue }
            try apply(attr, value.pointee, to: &kernel.geometry, on: kernel.function.context.device)
            kernel.attributes[attr.rawValue] = value.pointee
            return .kernel(kernel)
        }
    }

    func cuGraphKernelNodeCopyAttributes(_ dst: OpaquePointer?, _ src: OpaquePointer?) throws(CUDAError) {
        let source = try kernel(src)
        try setWork(try node(dst)) { old throws(CUDAError) in
            guard case .kernel(var kernel) = old else { throw .invalidValue }
            kernel.attributes = source.attributes
            kernel.geometry.attributeBits = source.geometry.attributeBits
            return .kernel(kernel)
        }
    }

    // MARK: Copies and sets

    func cuGraphMemcpyNodeGetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafeMutablePointer<CUDA_MEMCPY3D>?
    ) throws(CUDAError) {
        guard case .copy(let copy) = try work(try node(hNode)) else { throw .invalidValue }
        try write(copy.description, to: nodeParams)
    }

    func cuGraphMemcpyNodeSetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafePointer<CUDA_MEMCPY3D>?
    ) throws(CUDAError) {
        try setWork(try node(hNode)) { old throws(CUDAError) in
            guard case .copy(let copy) = old else { throw .invalidValue }
            return .copy(try copyWork(nodeParams?.pointee, copy.context))
        }
    }

    func cuGraphMemsetNodeGetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafeMutablePointer<CUDA_MEMSET_NODE_PARAMS>?
    ) throws(CUDAError) {
        guard case .set(let set) = try work(try node(hNode)) else { throw .invalidValue }
        try write(set.description.asC, to: nodeParams)
    }

    func cuGraphMemsetNodeSetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafePointer<CUDA_MEMSET_NODE_PARAMS>?
    ) throws(CUDAError) {
        try setWork(try node(hNode)) { old throws(CUDAError) in
            guard case .set(let set) = old else { throw .invalidValue }
            return .set(try setWork(nodeParams?.pointee, set.context))
        }
    }

    // MARK: Others

    func cuGraphHostNodeGetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafeMutablePointer<CUDA_HOST_NODE_PARAMS>?
    ) throws(CUDAError) {
        guard case .host(let host) = try work(try node(hNode)) else { throw .invalidValue }
        try write(CUDA_HOST_NODE_PARAMS(fn: host.function, userData: host.argument), to: nodeParams)
    }

    func cuGraphHostNodeSetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafePointer<CUDA_HOST_NODE_PARAMS>?
    ) throws(CUDAError) {
        let host = try hostWork(nodeParams?.pointee)
        try setWork(try node(hNode)) { _ throws(CUDAError) in .host(host) }
    }

    func cuGraphChildGraphNodeGetGraph(
        _ hNode: OpaquePointer?, _ phGraph: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        guard case .graph(let child) = try work(try node(hNode)) else { throw .invalidValue }
        try write(handle: child.bits, to: phGraph)
    }

    func cuGraphEventRecordNodeGetEvent(
        _ hNode: OpaquePointer?, _ event_out: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        guard case .record(let event) = try work(try node(hNode)) else { throw .invalidValue }
        try write(handle: event.bits, to: event_out)
    }

    func cuGraphEventRecordNodeSetEvent(_ hNode: OpaquePointer?, _ event: OpaquePointer?) throws(CUDAError) {
        let event = try eventOfNode(event)
        try setWork(try node(hNode)) { _ throws(CUDAError) in .record(event) }
    }

    func cuGraphEventWaitNodeGetEvent(
        _ hNode: OpaquePointer?, _ event_out: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        guard case .wait(let event) = try work(try node(hNode)) else { throw .invalidValue }
        try write(handle: event.bits, to: event_out)
    }

    func cuGraphEventWaitNodeSetEvent(_ hNode: OpaquePointer?, _ event: OpaquePointer?) throws(CUDAError) {
        let event = try eventOfNode(event)
        try setWork(try node(hNode)) { _ throws(CUDAError) in .wait(event) }
    }

    func cuGraphMemAllocNodeGetParams(
        _ hNode: OpaquePointer?, _ params_out: UnsafeMutablePointer<CUDA_MEM_ALLOC_NODE_PARAMS>?
    ) throws(CUDAError) {
        guard case .allocate(let allocation) = try work(try node(hNode)) else { throw .invalidValue }
        try write(allocation.asC, to: params_out)
    }

    func cuGraphMemFreeNodeGetParams(
        _ hNode: OpaquePointer?, _ dptr_out: UnsafeMutablePointer<CUdeviceptr>?
    ) throws(CUDAError) {
        guard case .free(let allocation) = try work(try node(hNode)) else { throw .invalidValue }
        try write(allocation.address, to: dptr_out)
    }

    func cuGraphBatchMemOpNodeGetParams(
        _ hNode: OpaquePointer?, _ nodeParams_out: UnsafeMutablePointer<CUDA_BATCH_MEM_OP_NODE_PARAMS>?
    ) throws(CUDAError) {
        guard case .values(let values) = try work(try node(hNode)) else { throw .invalidValue }
        try write(values.asC, to: nodeParams_out)
    }

    func cuGraphBatchMemOpNodeSetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafePointer<CUDA_BATCH_MEM_OP_NODE_PARAMS>?
    ) throws(CUDAError) {
        try setWork(try node(hNode)) { _ throws(CUDAError) in .values(try valuesWork(nodeParams?.pointee)) }
    }

    // MARK: One function for all kinds

    func cuGraphNodeSetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafeMutablePointer<CUgraphNodeParams>?
    ) throws(CUDAError) {
        guard let parameters = nodeParams?.pointee else { throw .invalidValue }
        try setWork(try node(hNode)) { old throws(CUDAError) in
            guard old.type == parameters.type else { throw .invalidValue }
            if case .kernel = old { return .kernel(try kernelWork(parameters.kernel, replacing: old)) }
            return try changeableWork(parameters)
        }
    }

    func cuGraphNodeGetParams(
        _ hNode: OpaquePointer?, _ nodeParams: UnsafeMutablePointer<CUgraphNodeParams>?
    ) throws(CUDAError) {
        let work = try work(try node(hNode))
        var parameters = CUgraphNodeParams()
        parameters.type = work.type
        switch work {
        case .kernel(let kernel): parameters.kernel = kernel.asC
        case .copy(let copy):
            parameters.memcpy.copyCtx = OpaquePointer(bitPattern: UInt(copy.context.bits))
            parameters.memcpy.copyParams = copy.description
        case .set(let set):
            parameters.memset.set = set.description.asC
            parameters.memset.ctx = OpaquePointer(bitPattern: UInt(set.context.bits))
        case .host(let host):
            parameters.host.call = CUDA_HOST_NODE_PARAMS(fn: host.function, userData: host.argument)
        case .graph(let child): parameters.graph.graph = OpaquePointer(bitPattern: UInt(child.bits))
        case .empty: break
        case .wait(let event): parameters.eventWait.event = OpaquePointer(bitPattern: UInt(event.bits))
        case .record(let event): parameters.eventRecord.event = OpaquePointer(bitPattern: UInt(event.bits))
        case .allocate(let allocation): parameters.alloc = allocation.asC
        case .free(let allocation): parameters.free.dptr = allocation.address
        case .values(let values): parameters.memOp = values.asC
        case .conditional(let node): parameters.conditional = node.asC
        }
        try write(parameters, to: nodeParams)
    }
}

extension KernelWork {
    /// As applications see it.
    ///
    /// The pointers are good until the node's parameters change.
    var asC: CUDA_KERNEL_NODE_PARAMS {
        CUDA_KERNEL_NODE_PARAMS(
            func: isKernelHandle ? nil : OpaquePointer(bitPattern: UInt(handleBits)),
            gridDimX: geometry.gridX, gridDimY: geometry.gridY, gridDimZ: geometry.gridZ,
            blockDimX: geometry.blockX, blockDimY: geometry.blockY, blockDimZ: geometry.blockZ,
            sharedMemBytes: geometry.dynamicSharedBytes, kernelParams: parameters.pointers, extra: nil,
            kern: isKernelHandle ? OpaquePointer(bitPattern: UInt(handleBits)) : nil,
            ctx: OpaquePointer(bitPattern: UInt(function.contextBits)))
    }
}

extension DeviceSet {
    var asC: CUDA_MEMSET_NODE_PARAMS {
        CUDA_MEMSET_NODE_PARAMS(
            dst: address, pitch: pitch, value: value, elementSize: elementBytes, width: width, height: height)
    }
}

extension GraphAllocation {
    var asC: CUDA_MEM_ALLOC_NODE_PARAMS {
        CUDA_MEM_ALLOC_NODE_PARAMS(
            poolProps: properties, accessDescs: nil, accessDescCount: 0, bytesize: byteCount, dptr: address)
    }
}

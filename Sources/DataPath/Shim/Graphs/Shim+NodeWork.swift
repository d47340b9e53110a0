// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What nodes do, made from the structures in which applications describe it and checked as CUDA checks it at once.
extension Shim {
    /// The work of those kinds whose parameters can be replaced later.
    func changeableWork(_ parameters: CUgraphNodeParams) throws(CUDAError) -> NodeWork {
        switch parameters.type {
        case CU_GRAPH_NODE_TYPE_KERNEL: .kernel(try kernelWork(parameters.kernel))
        case CU_GRAPH_NODE_TYPE_MEMCPY:
            .copy(try copyWork(parameters.memcpy.copyParams, try context(parameters.memcpy.copyCtx)))
        case CU_GRAPH_NODE_TYPE_MEMSET: .set(try setWork(parameters.memset.set, try context(parameters.memset.ctx)))
        case CU_GRAPH_NODE_TYPE_HOST: .host(try hostWork(parameters.host.call))
        case CU_GRAPH_NODE_TYPE_EMPTY: .empty
        case CU_GRAPH_NODE_TYPE_WAIT_EVENT: .wait(try eventOfNode(parameters.eventWait.event))
        case CU_GRAPH_NODE_TYPE_EVENT_RECORD: .record(try eventOfNode(parameters.eventRecord.event))
        case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP: .values(try valuesWork(parameters.memOp))
        case CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL, CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT, CU_GRAPH_NODE_TYPE_CONDITIONAL:
            throw .notSupported
        default: throw .invalidValue
        }
    }

    // MARK: Kernels

    /// A launch; the values of the kernel's parameters are copied.
    func kernelWork(_ parameters: CUDA_KERNEL_NODE_PARAMS?) throws(CUDAError) -> KernelWork {
        guard let parameters else { throw .invalidValue }
        let handle = parameters.func ?? parameters.kern
        let geometry = LaunchGeometry(
            grid: (parameters.gridDimX, parameters.gridDimY, parameters.gridDimZ),
            block: (parameters.blockDimX, parameters.blockDimY, parameters.blockDimZ),
            dynamicSharedBytes: parameters.sharedMemBytes)
        guard functions[bits(handle)] == nil else {
            return try kernelWork(handle, geometry, nil, parameters.kernelParams, parameters.extra)
        }
        let context = try context(parameters.func == nil ? parameters.ctx : nil)
        return try kernelWork(handle, geometry, context, parameters.kernelParams, parameters.extra)
    }

    /// A launch of a function, or of a kernel in a context.
    func kernelWork(
        _ handle: OpaquePointer?, _ geometry: LaunchGeometry, _ context: Context?,
        _ kernelParams: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ extra: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) throws(CUDAError) -> KernelWork {
        let function: Function
        let isKernelHandle: Bool
        if let known = functions[bits(handle)] {
            (function, isKernelHandle) = (known, false)
        } else {
            guard let context, kernels[bits(handle)] != nil else { throw .invalidHandle }
            (function, isKernelHandle) = (try self.function(handle, in: try ActiveContext(context)), true)
        }
        try check(geometry, function, function.context.device.limits)
        let packed = try pack(function, kernelParams, extra)
        var work = KernelWork(
            function: function, handleBits: bits(handle), isKernelHandle: isKernelHandle, geometry: geometry,
            parameters: ParameterBlock(UnsafeRawBufferPointer(packed), layout: function.parameters))
        if geometry.isCooperative {
            var value = CUlaunchAttributeValue()
            value.cooperative = 1
            work.attributes[CU_LAUNCH_ATTRIBUTE_COOPERATIVE.rawValue] = value
        }
        return work
    }

    // MARK: Copies and sets

    func copyWork(_ description: CUDA_MEMCPY3D?, _ context: Context) throws(CUDAError) -> CopyWork {
        guard let description else { throw .invalidValue }
        let extent = Extent(
            widthBytes: description.WidthInBytes, height: description.Height, depth: description.Depth)
        guard extent.widthBytes >= 0, extent.height >= 0, extent.depth >= 0, extent.byteCount != nil else {
            throw .invalidValue
        }
        let target = try place(description.target, extent)
        let source = try place(description.source, extent)
        return CopyWork(
            description: description, context: context, target: settled(target), source: settled(source),
            extent: extent)
    }

    /// Where memory that host and device use by turns is while work of the device uses it: on the device.
    func settled(_ box: PlacedBox) -> PlacedBox {
        guard usesSharedMemory, let allocation = memory.find(box.corner.address), allocation.deviceBase != 0 else {
            return box
        }
        let address = allocation.deviceAddress(box.corner.address)
        let corner = DeviceBox(address: address, pitch: box.corner.pitch, rows: box.corner.rows)
        return PlacedBox(side: .device, corner: corner, byteCount: box.byteCount)
    }

    /// A copy of a range, as captured from the functions for one dimension.
    func copyWork(
        _ target: CUdeviceptr, _ targetSide: Side, _ source: CUdeviceptr, _ sourceSide: Side, _ byteCount: Int,
        _ context: Context
    ) throws(CUDAError) -> CopyWork {
        var description = CUDA_MEMCPY3D()
        description.dstMemoryType = targetSide.isHost ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE
        description.srcMemoryType = sourceSide.isHost ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE
        if targetSide.isHost {
            description.dstHost = UnsafeMutableRawPointer(bitPattern: UInt(target))
        } else {
            description.dstDevice = target
        }
        if sourceSide.isHost {
            description.srcHost = UnsafeRawPointer(bitPattern: UInt(source))
        } else {
            description.srcDevice = source
        }
        (description.WidthInBytes, description.Height, description.Depth) = (byteCount, 1, 1)
        return try copyWork(description, context)
    }

    func setWork(_ parameters: CUDA_MEMSET_NODE_PARAMS?, _ context: Context) throws(CUDAError) -> SetWork {
        guard let parameters, [1, 2, 4].contains(parameters.elementSize), parameters.width > 0, parameters.height > 0
        else { throw .invalidValue }
        let elementBytes = Int(parameters.elementSize)
        let byteCount = try setByteCount(
            elementBytes: elementBytes, width: parameters.width, height: parameters.height,
            pitch: parameters.height > 1 ? parameters.pitch : nil)
        let side = try side(parameters.dst, byteCount, .known)
        guard parameters.dst % CUdeviceptr(elementBytes) == 0 else { throw .invalidValue }
        return SetWork(
            description: DeviceSet(
                address: side == .shared ? deviceAddress(parameters.dst) : parameters.dst, pitch: parameters.pitch,
                value: parameters.value,
                elementBytes: parameters.elementSize, width: parameters.width, height: parameters.height),
            context: context, isOnDevice: !side.isHost)
    }

    /// Bytes from the first to the last that a set touches.
    private func setByteCount(
        elementBytes: Int, width: Int, height: Int, pitch: Int?
    ) throws(CUDAError) -> Int {
        let (rowBytes, isTooWide) = width.multipliedReportingOverflow(by: elementBytes)
        let step = pitch ?? rowBytes
        let (lastRow, isTooHigh) = step.multipliedReportingOverflow(by: height - 1)
        let (byteCount, isTooLong) = lastRow.addingReportingOverflow(rowBytes)
        guard !isTooWide, !isTooHigh, !isTooLong, step >= rowBytes, step % elementBytes == 0 else {
            throw .invalidValue
        }
        return byteCount
    }

    // MARK: Others

    /// Values that are written and waited for; a context is needed, by name or as the current one.
    func valuesWork(_ parameters: CUDA_BATCH_MEM_OP_NODE_PARAMS?) throws(CUDAError) -> ValuesWork {
        guard let parameters, parameters.flags == 0 else { throw .invalidValue }
        let context = try context(parameters.ctx)
        let operations = try operations(parameters.paramArray, parameters.count)
        guard !operations.isEmpty else { throw .invalidValue }
        return try valuesWork(operations, context)
    }

    func valuesWork(
        _ operations: [StreamMemoryOperation], _ context: Context
    ) throws(CUDAError) -> ValuesWork {
        for operation in operations { try check(operation, on: context.device) }
        return ValuesWork(operations: operations, context: context)
    }

    func hostWork(_ parameters: CUDA_HOST_NODE_PARAMS?) throws(CUDAError) -> HostWork {
        guard let parameters, let function = parameters.fn else { throw .invalidValue }
        return HostWork(function: function, argument: parameters.userData)
    }

    func eventOfNode(_ handle: OpaquePointer?) throws(CUDAError) -> Event {
        guard let event = events[bits(handle)] else { throw .invalidValue }
        return event
    }

    /// A child node's own graph: a copy, or the graph itself where the application gives it away.
    func childWork(
        _ childGraph: OpaquePointer?, in hGraph: OpaquePointer?, moves: Bool
    ) throws(CUDAError) -> NodeWork {
        let child = try graph(childGraph)
        guard bits(hGraph) != child.bits else { throw .invalidValue }
        guard moves else { return .graph(try clone(child, isChild: true)) }
        guard !child.structure.withLock({ $0.hasConditionalNodes }) else { throw .notSupported }
        guard !child.isChild else { throw .invalidValue }
        // The handle of a graph says whether it may be destroyed: the moved graph gets a new one.
        let structure = child.structure.withLock { structure in
            defer { structure = GraphStructure() }
            return structure
        }
        graphs.remove(child.bits)
        endConditions(of: child)
        for number in structure.numbers { graphNodes.remove(try structure[number].bits) }
        return .graph(try adopt(structure, originBits: child.originBits, isChild: true))
    }

    /// Takes the memory of a node and tells the application its address.
    func allocationWork(
        _ parameters: inout CUDA_MEM_ALLOC_NODE_PARAMS, in hGraph: OpaquePointer?
    ) throws(CUDAError) -> NodeWork {
        // Memory nodes of a child graph would belong to two graphs.
        guard try !graph(hGraph).isChild else { throw .notSupported }
        if parameters.accessDescCount > 0 {
            guard let wishes = parameters.accessDescs, parameters.accessDescCount <= devices.count else {
                throw .invalidValue
            }
            for index in 0..<parameters.accessDescCount {
                guard wishes[index].location.id == parameters.poolProps.location.id else { throw .notSupported }
            }
        }
        let allocation = try makeGraphAllocation(parameters.bytesize, properties: parameters.poolProps)
        parameters.dptr = allocation.address
        return .allocate(allocation)
    }

    func freeWork(_ address: CUdeviceptr, in hGraph: OpaquePointer?) throws(CUDAError) -> NodeWork {
        guard let allocation = graphAllocation(at: address) else { throw .invalidValue }
        let isFreed = try graph(hGraph).structure.withLock { structure in
            structure.nodes.contains { node in
                if case .free(let freed) = node?.work { freed === allocation } else { false }
            }
        }
        guard !isFreed else { throw .invalidValue }
        return .free(allocation)
    }
}

extension CUDA_KERNEL_NODE_PARAMS {
    /// The parameters in the form that has neither kernel nor context.
    init?(_ parameters: UnsafePointer<CUDA_KERNEL_NODE_PARAMS_v1>?) {
        guard let old = parameters?.pointee else { return nil }
        self.init(
            func: old.func, gridDimX: old.gridDimX, gridDimY: old.gridDimY, gridDimZ: old.gridDimZ,
            blockDimX: old.blockDimX, blockDimY: old.blockDimY, blockDimZ: old.blockDimZ,
            sharedMemBytes: old.sharedMemBytes, kernelParams: old.kernelParams, extra: old.extra, kern: nil, ctx: nil)
    }
}

extension CUDA_MEMCPY3D {
    var target: BoxSide {
        BoxSide(
            memoryType: dstMemoryType, host: Shim.address(dstHost), device: dstDevice, array: dstArray,
            x: dstXInBytes, y: dstY, z: dstZ, pitch: dstPitch, height: dstHeight)
    }

    var source: BoxSide {
        BoxSide(
            memoryType: srcMemoryType, host: Shim.address(srcHost), device: srcDevice, array: srcArray,
            x: srcXInBytes, y: srcY, z: srcZ, pitch: srcPitch, height: srcHeight)
    }

    /// Describes a copy as the structure for three dimensions does.
    mutating func set(target: BoxSide, source: BoxSide, _ extent: Extent) {
        (dstMemoryType, dstDevice, dstPitch, dstHeight) = (
            target.memoryType, target.device, target.pitch, target.height
        )
        (dstXInBytes, dstY, dstZ) = (target.x, target.y, target.z)
        dstHost = UnsafeMutableRawPointer(bitPattern: UInt(target.host))
        (dstArray, srcArray) = (target.array, source.array)
        (srcMemoryType, srcDevice, srcPitch, srcHeight) = (
            source.memoryType, source.device, source.pitch, source.height
        )
        (srcXInBytes, srcY, srcZ) = (source.x, source.y, source.z)
        srcHost = UnsafeRawPointer(bitPattern: UInt(source.host))
        (WidthInBytes, Height, Depth) = (extent.widthBytes, extent.height, extent.depth)
    }
}

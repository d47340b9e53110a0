// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Launches of graphs: in one call of the driver's where it has the graph in a form of its own, else node by node.
extension Shim {
    /// In a capture the graph's nodes become a child node.
    func cuGraphLaunch(
        _ hGraphExec: OpaquePointer?, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let graph = try executable(hGraphExec)
        let target = try workTarget(hStream, defaultStream)
        if let stream = target.capturing {
            let flat = graph.state.withLock { $0.nodes }
            guard flat.allocations.isEmpty, !flat.hasConditionalNodes else { throw .notSupported }
            return try capture(.graph(try adopt(flat.structure, originBits: 0, isChild: true)), on: stream)
        }
        // A kernel may use any of the memory that host and device use by turns.
        if usesSharedMemory { try shareMemory(of: graph) }
        if usesSharedMemory, shared.isUsed {
            try shared.whileOnDevice(target) { () throws(CUDAError) in try enqueue(graph, target) }
        } else {
            try enqueue(graph, target)
        }
        try waitIfBlocking(target)
    }

    /// What an upload would prepare is done when the graph is made.
    func cuGraphUpload(
        _ hGraphExec: OpaquePointer?, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        _ = try executable(hGraphExec)
        _ = try workTarget(hStream, defaultStream)
    }

    private func enqueue(_ graph: ExecutableGraph, _ target: StreamTarget) throws(CUDAError) {
        guard let made = graph.state.withLock({ $0.driverGraph }) else { return try launch(graph, target) }
        try driver.cuGraphLaunch(target.context, hGraphExec: made.handle, hStream: target.stream)
    }

    /// Gives the device what kernels use of pinned memory, which cannot be done any more while all is handed over.
    private func shareMemory(of graph: ExecutableGraph) throws(CUDAError) {
        let (nodes, isDrivers) = graph.state.withLock { ($0.nodes.nodes, $0.driverGraph != nil) }
        if isDrivers { return }
        for node in nodes {
            switch node.work {
            case .kernel(let kernel): _ = try deviceParameters(of: kernel)
            case .values(let values): _ = try deviceOperations(values.operations)
            default: break
            }
        }
    }

    private func launch(_ graph: ExecutableGraph, _ target: StreamTarget) throws(CUDAError) {
        let (nodes, isEnabled, player) = graph.state.withLock { ($0.nodes.nodes, $0.isEnabled, $0.player) }
        try checkMemory(nodes, freesAutomatically: graph.freesAutomatically)
        try player.play(on: driver, target.context, target.stream) { index, context, stream throws(CUDAError) in
            guard isEnabled[index] else { return }
            let lane = StreamTarget(
                contextBits: target.contextBits, context: context, stream: stream)
            try enqueue(nodes[index], lane, freesAutomatically: graph.freesAutomatically)
        }
    }

    /// Looks before anything is enqueued whether memory is freed that a launch will allocate, and allocated that it
    /// will free.
    private func checkMemory(_ nodes: [FlatGraph.Node], freesAutomatically: Bool) throws(CUDAError) {
        var allocated: Set<CUdeviceptr> = []
        for node in nodes {
            switch node.work {
            case .allocate(let allocation):
                guard freesAutomatically || !allocation.isLive else { throw .invalidValue }
                allocated.insert(allocation.address)
            case .free(let allocation):
                guard allocated.contains(allocation.address) || allocation.isLive else { throw .invalidValue }
            default: break
            }
        }
    }

    private func enqueue(
        _ node: FlatGraph.Node, _ stream: StreamTarget, freesAutomatically: Bool
    ) throws(CUDAError) {
        switch node.work {
        case .kernel(let kernel):
            let parameters = try deviceParameters(of: kernel)
            defer { withExtendedLifetime(parameters) {} }
            try driver.cuLaunchKernel(
                stream.context, f: kernel.function.handle, kernel.geometry, stream: stream.stream,
                parameters: parameters.bytes)
        case .copy(let copy): try enqueue(settled(copy), stream, isAfterHostWrites: node.isAfterHostWrites)
        case .set(let set) where set.isOnDevice: try driver.enqueue(set.description, stream.context, stream.stream)
        case .set(let set):
            try enqueueHostFunction(stream.context, stream.stream) { set.description.fillHostMemory() }
        case .host(let host):
            try enqueueHostFunction(stream.context, stream.stream) { host.function(host.argument) }
        case .wait(let event):
            try driver.cuStreamWaitEvent(stream.context, hStream: stream.stream, hEvent: event.handle, flags: 0)
        case .record(let event):
            event.forgetCapture()
            try driver.cuEventRecordWithFlags(stream.context, hEvent: event.handle, hStream: stream.stream, flags: 0)
        case .allocate(let allocation): try use(allocation, freeingAutomatically: freesAutomatically)
        case .free(let allocation): try free(allocation)
        case .values(let values):
            try driver.cuStreamBatchMemOp_v2(
                stream.context, stream: stream.stream, operations: try deviceOperations(values.operations))
        case .graph, .conditional, .empty: break
        }
    }

    /// Enqueues a copy so that host memory is touched when the stream comes to it.
    ///
    /// A source in host memory is read at once instead where no node before it can write it: then nobody waits.
    private func enqueue(
        _ copy: CopyWork, _ stream: StreamTarget, isAfterHostWrites: Bool
    ) throws(CUDAError) {
        if copy.isEmpty { return }
        let isContiguous = copy.target.isContiguous(copy.extent) && copy.source.isContiguous(copy.extent)
        switch (copy.target.side.isHost, copy.source.side.isHost) {
        case (false, false):
            if let work = copy.deviceWork { try driver.enqueue(work, stream.context, stream.stream) }
        case (false, true) where !isAfterHostWrites: try copyToDevice(copy, isContiguous, stream)
        case (true, false) where isContiguous:
            let bytes = UnsafeMutableRawBufferPointer(
                mutating: Self.hostBytes(copy.target.corner.address, copy.byteCount))
            try driver.cuMemcpyDtoHAsync_v2(
                stream.context, dstHost: bytes, srcDevice: copy.source.corner.address, stream: stream.stream)
        case (true, true):
            try enqueueHostFunction(stream.context, stream.stream) { Self.moveOnHost(copy) }
        case (false, true), (true, false): try enqueueAtItsTime(copy, isContiguous, stream)
        }
    }

    private func copyToDevice(
        _ copy: CopyWork, _ isContiguous: Bool, _ stream: StreamTarget
    ) throws(CUDAError) {
        guard isContiguous else {
            return try copyToDevice(copy.target, copy.source, copy.extent, copy.byteCount, stream)
        }
        try driver.cuMemcpyHtoDAsync_v2(
            stream.context, dstDevice: copy.target.corner.address,
            srcHost: Self.hostBytes(copy.source.corner.address, copy.byteCount).bytes, hStream: stream.stream)
    }

    /// The stream stops at a host function, which has the copy done by another stream.
    ///
    /// An error of the copy shows itself as that of its context; there is nobody here to tell it.
    private func enqueueAtItsTime(
        _ copy: CopyWork, _ isContiguous: Bool, _ stream: StreamTarget
    ) throws(CUDAError) {
        let shim = Unmanaged.passUnretained(self)
        let context = stream.context
        let contextBits = stream.contextBits
        try driver.cuLaunchHostFunc(stream.context, stream: stream.stream) {
            // SAFETY: the shim lives as long as its driver calls host functions.
            shim._withUnsafeGuaranteedRef { shim in
                let flags = CU_STREAM_NON_BLOCKING.rawValue
                guard let side = try? shim.driver.cuStreamCreateWithPriority(context, flags: flags, priority: 0)
                else { return }
                let target = StreamTarget(contextBits: contextBits, context: context, stream: side)
                if copy.source.side.isHost {
                    try? shim.copyToDevice(copy, isContiguous, target)
                } else {
                    try? shim.copyToHost(copy.target, copy.source, copy.extent, copy.byteCount, target)
                }
                try? shim.driver.cuStreamSynchronize(context, hStream: side)
                try? shim.driver.cuStreamDestroy_v2(context, hStream: side)
            }
        }
    }

    private static func moveOnHost(_ copy: CopyWork) {
        let packed = UnsafeMutableRawBufferPointer.allocate(byteCount: copy.byteCount, alignment: 16)
        defer { packed.deallocate() }
        gather(copy.source.corner, copy.extent, into: packed)
        scatter(packed, copy.extent, to: copy.target.corner)
    }
}

extension DeviceSet {
    /// Does the set where the address is one of this process.
    fileprivate func fillHostMemory() {
        for row in 0..<height {
            guard let start = UnsafeMutableRawPointer(bitPattern: UInt(address) + UInt(row * pitch)) else { continue }
            switch elementBytes {
            case 1: start.initializeMemory(as: UInt8.self, repeating: UInt8(truncatingIfNeeded: value), count: width)
            case 2: start.initializeMemory(as: UInt16.self, repeating: UInt16(truncatingIfNeeded: value), count: width)
            default: start.initializeMemory(as: UInt32.self, repeating: value, count: width)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Synchronization

/// The resources and descriptors that a driver has told, by numbers: what a client sends is looked up here, so that the
/// driver only ever sees bytes of its own.
struct ResourceTable {
    /// The bytes of each resource.
    private var resources: [[UInt8]] = []
    private var numbers: [[UInt8]: ResourceNumber] = [:]
    private var descriptors: [UInt64] = []

    /// A program has a few; one that splits without end is told CUDA_ERROR_OUT_OF_MEMORY.
    private static let countMax = 1 << 16

    /// The same bytes have the same number, because programs ask again and again.
    mutating func number(of bytes: [UInt8]) throws(CUDAError) -> ResourceNumber {
        if let known = numbers[bytes] { return known }
        guard resources.count < Self.countMax else { throw .outOfMemory }
        resources.append(bytes)
        numbers[bytes] = ResourceNumber(resources.count)
        return ResourceNumber(resources.count)
    }

    func bytes(_ number: ResourceNumber) throws(CUDAError) -> [UInt8] {
        guard number > 0, number <= resources.count else { throw .invalidValue }
        return resources[Int(number) - 1]
    }

    mutating func number(ofDescriptor descriptor: UInt64) throws(CUDAError) -> ResourceNumber {
        guard descriptors.count < Self.countMax else { throw .outOfMemory }
        descriptors.append(descriptor)
        return ResourceNumber(descriptors.count)
    }

    func descriptor(_ number: ResourceNumber) throws(CUDAError) -> UInt64 {
        guard number > 0, number <= descriptors.count else { throw .invalidValue }
        return descriptors[Int(number) - 1]
    }
}

/// The functions of green contexts; drivers of CUDA 12.4 have the first of them, 13.1 all.
struct HostResourceFunctions: Sendable {
    typealias Resource = UnsafeMutablePointer<CUdevResource>?

    let cuDeviceGetDevResource: (@convention(c) (Int32, Resource, UInt32) -> CUresult)?
    let cuGreenCtxGetDevResource: (@convention(c) (UInt64, Resource, UInt32) -> CUresult)?
    let cuDevSmResourceSplitByCount:
        (
            @convention(c) (
                Resource, UnsafeMutablePointer<UInt32>?, UnsafePointer<CUdevResource>?, Resource, UInt32, UInt32
            ) -> CUresult
        )?
    let cuDevSmResourceSplit:
        (
            @convention(c) (
                Resource, UInt32, UnsafePointer<CUdevResource>?, Resource, UInt32,
                UnsafeMutablePointer<CU_DEV_SM_RESOURCE_GROUP_PARAMS>?
            ) -> CUresult
        )?
    let cuDevResourceGenerateDesc: (@convention(c) (UnsafeMutablePointer<UInt64>?, Resource, UInt32) -> CUresult)?
    let cuGreenCtxCreate: (@convention(c) (UnsafeMutablePointer<UInt64>?, UInt64, Int32, UInt32) -> CUresult)?
    let cuCtxRecordEvent: (@convention(c) (UInt64, UInt64) -> CUresult)?
    let cuCtxWaitEvent: (@convention(c) (UInt64, UInt64) -> CUresult)?

    init(_ library: borrowing DriverLibrary) {
        cuDeviceGetDevResource = library.function("cuDeviceGetDevResource")
        cuGreenCtxGetDevResource = library.function("cuGreenCtxGetDevResource")
        cuDevSmResourceSplitByCount = library.function("cuDevSmResourceSplitByCount")
        cuDevSmResourceSplit = library.function("cuDevSmResourceSplit")
        cuDevResourceGenerateDesc = library.function("cuDevResourceGenerateDesc")
        cuGreenCtxCreate = library.function("cuGreenCtxCreate")
        cuCtxRecordEvent = library.function("cuCtxRecordEvent")
        cuCtxWaitEvent = library.function("cuCtxWaitEvent")
    }
}

extension HostDriver {
    /// What a client may see of a resource; nil for none.
    private func note(_ resource: CUdevResource) throws(CUDAError) -> MultiprocessorResource? {
        guard resource.type == CU_DEV_RESOURCE_TYPE_SM else { return nil }
        var kept = resource
        // The list that it may be in is the caller's.
        kept.nextResource = nil
        let bytes = withUnsafeBytes(of: kept) { Array($0) }
        let number = try resources.withLock { table throws(CUDAError) in try table.number(of: bytes) }
        return MultiprocessorResource(
            number: number, count: resource.sm.smCount, minPartition: resource.sm.minSmPartitionSize,
            alignment: resource.sm.smCoscheduledAlignment, flags: resource.sm.flags,
            localityDomain: resource.sm.localityDomainId)
    }

    private func resource(_ number: ResourceNumber) throws(CUDAError) -> CUdevResource {
        let bytes = try resources.withLock { table throws(CUDAError) in try table.bytes(number) }
        var resource = CUdevResource()
        withUnsafeMutableBytes(of: &resource) { $0.copyBytes(from: bytes) }
        return resource
    }

    package func cuDeviceGetDevResource(dev: Int32) throws(CUDAError) -> MultiprocessorResource {
        guard let function = resourceFunctions.cuDeviceGetDevResource else { throw .notSupported }
        var resource = CUdevResource()
        try check(function(dev, &resource, CU_DEV_RESOURCE_TYPE_SM.rawValue))
        guard let noted = try note(resource) else { throw .notSupported }
        return noted
    }

    package func cuGreenCtxGetDevResource(hCtx: GreenContextHandle) throws(CUDAError) -> MultiprocessorResource {
        guard let function = resourceFunctions.cuGreenCtxGetDevResource else { throw .notSupported }
        var resource = CUdevResource()
        try check(function(hCtx.bits, &resource, CU_DEV_RESOURCE_TYPE_SM.rawValue))
        guard let noted = try note(resource) else { throw .notSupported }
        return noted
    }

    /// Asks first how many groups there will be, because the driver wants a place for each.
    package func cuDevSmResourceSplitByCount(
        input: ResourceNumber, groups: UInt32, flags: UInt32, minCount: UInt32
    ) throws(CUDAError) -> MultiprocessorSplit {
        guard let function = resourceFunctions.cuDevSmResourceSplitByCount else { throw .notSupported }
        var source = try resource(input)
        var count: UInt32 = 0
        try check(function(nil, &count, &source, nil, flags, minCount))
        count = min(count, groups, UInt32(MultiprocessorGroup.countMax))
        var results = [CUdevResource](repeating: CUdevResource(), count: max(1, Int(count)))
        var remainder = CUdevResource()
        try check(function(&results, &count, &source, &remainder, flags, minCount))
        return try split(results.prefix(Int(count)), remainder)
    }

    private func split(
        _ groups: ArraySlice<CUdevResource>, _ remainder: CUdevResource
    ) throws(CUDAError) -> MultiprocessorSplit {
        var split = MultiprocessorSplit(groups: [], remainder: try note(remainder))
        for group in groups {
            guard let noted = try note(group) else { throw .unknown }
            split.groups.append(noted)
        }
        return split
    }

    package func cuDevSmResourceSplit(
        input: ResourceNumber, groups: [MultiprocessorGroup], makesResult: Bool, flags: UInt32
    ) throws(CUDAError) -> MultiprocessorSplit {
        guard let function = resourceFunctions.cuDevSmResourceSplit else { throw .notSupported }
        var source = try resource(input)
        var parameters = groups.map { group in
            var parameters = CU_DEV_SM_RESOURCE_GROUP_PARAMS()
            parameters.smCount = group.count
            parameters.coscheduledSmCount = group.coscheduled
            parameters.preferredCoscheduledSmCount = group.preferredCoscheduled
            parameters.flags = group.flags
            parameters.localityDomainId = group.localityDomain
            return parameters
        }
        var results = [CUdevResource](repeating: CUdevResource(), count: max(1, groups.count))
        var remainder = CUdevResource()
        let count = UInt32(groups.count)
        let code =
            makesResult
            ? function(&results, count, &source, &remainder, flags, &parameters)
            : function(nil, count, &source, &remainder, flags, &parameters)
        try check(code)
        var made = try split(makesResult ? results.prefix(groups.count) : [], remainder)
        made.counts = parameters.map(\.smCount)
        return made
    }

    package func cuDevResourceGenerateDesc(resources: [ResourceNumber]) throws(CUDAError) -> ResourceNumber {
        guard let function = resourceFunctions.cuDevResourceGenerateDesc else { throw .notSupported }
        var list: [CUdevResource] = []
        for number in resources { list.append(try resource(number)) }
        var descriptor: UInt64 = 0
        try check(function(&descriptor, &list, UInt32(list.count)))
        return try self.resources.withLock { table throws(CUDAError) in
            try table.number(ofDescriptor: descriptor)
        }
    }

    package func cuGreenCtxCreate(
        desc: UInt64, dev: Int32, flags: UInt32
    ) throws(CUDAError) -> GreenContextHandle {
        guard let function = resourceFunctions.cuGreenCtxCreate else { throw .notSupported }
        let descriptor = try resources.withLock { table throws(CUDAError) in try table.descriptor(desc) }
        var made: UInt64 = 0
        try check(function(&made, descriptor, dev, flags))
        return GreenContextHandle(bits: made)
    }

    package func cuCtxRecordEvent(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        guard let function = resourceFunctions.cuCtxRecordEvent else { throw .notSupported }
        try check(function(context.bits, hEvent.bits))
    }

    package func cuCtxWaitEvent(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        guard let function = resourceFunctions.cuCtxWaitEvent else { throw .notSupported }
        try check(function(context.bits, hEvent.bits))
    }
}

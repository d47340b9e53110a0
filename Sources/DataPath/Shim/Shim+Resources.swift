// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Multiprocessors as resources, and how they are split.
///
/// The application holds a resource as a structure of its own, with the driver's number of it inside.
extension Shim {
    func cuDeviceGetDevResource(
        _ device: CUdevice, _ resource: UnsafeMutablePointer<CUdevResource>?, _ type: CUdevResourceType
    ) throws(CUDAError) {
        let ordinal = try self.device(device).driverOrdinal
        guard resource != nil else { throw .invalidValue }
        try checkIsMultiprocessors(type)
        try write(Self.structure(try driver.cuDeviceGetDevResource(dev: ordinal)), to: resource)
    }

    func cuCtxGetDevResource(
        _ hCtx: OpaquePointer?, _ resource: UnsafeMutablePointer<CUdevResource>?, _ type: CUdevResourceType
    ) throws(CUDAError) {
        guard resource != nil else { throw .invalidValue }
        try write(try self.resource(of: try context(hCtx), type), to: resource)
    }

    func cuGreenCtxGetDevResource(
        _ hCtx: OpaquePointer?, _ resource: UnsafeMutablePointer<CUdevResource>?, _ type: CUdevResourceType
    ) throws(CUDAError) {
        guard let green = greenContexts[bits(hCtx)] else { throw .invalidContext }
        guard resource != nil else { throw .invalidValue }
        try checkIsMultiprocessors(type)
        try write(Self.structure(try driver.cuGreenCtxGetDevResource(hCtx: green.handle)), to: resource)
    }

    /// What the kernels of a context may use.
    func resource(of context: Context, _ type: CUdevResourceType) throws(CUDAError) -> CUdevResource {
        _ = try context.handle
        try checkIsMultiprocessors(type)
        if let green = context.green {
            return Self.structure(try driver.cuGreenCtxGetDevResource(hCtx: green.handle))
        }
        return Self.structure(try driver.cuDeviceGetDevResource(dev: context.device.driverOrdinal))
    }

    /// Work queues are the server's, which its driver shares among all that use the GPU.
    private func checkIsMultiprocessors(_ type: CUdevResourceType) throws(CUDAError) {
        guard type == CU_DEV_RESOURCE_TYPE_SM else { throw CUDAError(CUDA_ERROR_INVALID_RESOURCE_TYPE) }
    }

    // MARK: Structures

    private static func structure(_ resource: MultiprocessorResource?) -> CUdevResource {
        var structure = CUdevResource()
        guard let resource else { return structure }
        structure.type = CU_DEV_RESOURCE_TYPE_SM
        withUnsafeMutableBytes(of: &structure.internal) { $0.storeBytes(of: resource.number, as: UInt64.self) }
        structure.sm.smCount = resource.count
        structure.sm.minSmPartitionSize = resource.minPartition
        structure.sm.smCoscheduledAlignment = resource.alignment
        structure.sm.flags = resource.flags
        structure.sm.localityDomainId = resource.localityDomain
        return structure
    }

    /// The driver's number of a resource, which it checks itself.
    private func number(_ structure: CUdevResource) throws(CUDAError) -> ResourceNumber {
        guard structure.type == CU_DEV_RESOURCE_TYPE_SM else { throw CUDAError(CUDA_ERROR_INVALID_RESOURCE_TYPE) }
        return withUnsafeBytes(of: structure.internal) { $0.loadUnaligned(as: UInt64.self) }
    }

    // MARK: Splitting

    /// Without a place for groups it tells how many there would be.
    func cuDevSmResourceSplitByCount(
        _ result: UnsafeMutablePointer<CUdevResource>?, _ nbGroups: UnsafeMutablePointer<UInt32>?,
        _ input: UnsafePointer<CUdevResource>?, _ remainder: UnsafeMutablePointer<CUdevResource>?, _ flags: UInt32,
        _ minCount: UInt32
    ) throws(CUDAError) {
        guard let input, let nbGroups else { throw .invalidValue }
        let number = try number(input.pointee)
        guard let result else {
            let split = try driver.cuDevSmResourceSplitByCount(
                input: number, groups: UInt32(MultiprocessorGroup.countMax), flags: flags, minCount: minCount)
            nbGroups.pointee = UInt32(split.groups.count)
            remainder?.pointee = Self.structure(split.remainder)
            return
        }
        let split = try driver.cuDevSmResourceSplitByCount(
            input: number, groups: nbGroups.pointee, flags: flags, minCount: minCount)
        // As many as there is room for, whatever the driver says.
        let groups = split.groups.prefix(Int(nbGroups.pointee))
        for (index, group) in groups.enumerated() { result[index] = Self.structure(group) }
        nbGroups.pointee = UInt32(groups.count)
        remainder?.pointee = Self.structure(split.remainder)
    }

    func cuDevSmResourceSplit(
        _ result: UnsafeMutablePointer<CUdevResource>?, _ nbGroups: UInt32, _ input: UnsafePointer<CUdevResource>?,
        _ remainder: UnsafeMutablePointer<CUdevResource>?, _ flags: UInt32,
        _ groupParams: UnsafeMutablePointer<CU_DEV_SM_RESOURCE_GROUP_PARAMS>?
    ) throws(CUDAError) {
        guard let input, let groupParams, nbGroups > 0, nbGroups <= MultiprocessorGroup.countMax, flags == 0 else {
            throw .invalidValue
        }
        var groups: [MultiprocessorGroup] = []
        for index in 0..<Int(nbGroups) {
            let parameters = groupParams[index]
            let isCleared = withUnsafeBytes(of: parameters.reserved) { $0.allSatisfy { $0 == 0 } }
            guard isCleared else { throw .invalidValue }
            groups.append(
                MultiprocessorGroup(
                    count: parameters.smCount, coscheduled: parameters.coscheduledSmCount,
                    preferredCoscheduled: parameters.preferredCoscheduledSmCount, flags: parameters.flags,
                    localityDomain: parameters.localityDomainId))
        }
        let split = try driver.cuDevSmResourceSplit(
            input: try number(input.pointee), groups: groups, makesResult: result != nil, flags: flags)
        guard split.counts.count == groups.count, result == nil || split.groups.count == groups.count else {
            throw .unknown
        }
        for (index, count) in split.counts.enumerated() { groupParams[index].smCount = count }
        if let result {
            for (index, group) in split.groups.enumerated() { result[index] = Self.structure(group) }
        }
        remainder?.pointee = Self.structure(split.remainder)
    }

    func cuDevResourceGenerateDesc(
        _ phDesc: UnsafeMutablePointer<OpaquePointer?>?, _ resources: UnsafeMutablePointer<CUdevResource>?,
        _ nbResources: UInt32
    ) throws(CUDAError) {
        guard phDesc != nil, let resources, nbResources > 0, nbResources <= MultiprocessorGroup.countMax else {
            throw .invalidValue
        }
        var numbers: [ResourceNumber] = []
        for index in 0..<Int(nbResources) { numbers.append(try number(resources[index])) }
        let made = try driver.cuDevResourceGenerateDesc(resources: numbers)
        // The same resources have the same descriptor, which lives as long as the process.
        if let known = resourceDescriptors.all.first(where: { $0.number == made }) {
            return try write(handle: known.bits, to: phDesc)
        }
        let descriptor = try resourceDescriptors.insert { ResourceDescriptor(bits: $0, number: made) }
        try write(handle: descriptor.bits, to: phDesc)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// How multiprocessors are split into groups: the rules of cuDevSmResourceSplit and cuDevSmResourceSplitByCount, which
/// depend on the compute capability only.
struct MultiprocessorSplitter {
    /// Major number of the compute capability.
    let capabilityMajor: Int

    struct Sizes: Equatable {
        var groups: [Int]
        var remainder: Int
    }

    /// The smallest part, and what its size is a multiple of: CUDA driver API, green contexts, "SM granularity".
    var granularity: Int {
        switch capabilityMajor {
        case ..<8: 2
        case 8: 4
        default: 8
        }
    }

    /// Multiprocessors that can be asked to be scheduled together.
    private var coscheduledDefault: Int { capabilityMajor >= 9 ? 8 : 2 }
    private var coscheduledMax: Int { capabilityMajor >= 9 ? 32 : 2 }
    /// A group for the largest clusters, which are of 16 blocks.
    private static let largestCluster = 16

    /// Equal groups of at least `minCount`, as many as there are, at most `groupsMax`.
    func sizes(
        splitting count: Int, groupsMax: Int, flags: UInt32, minCount: Int
    ) throws(CUDAError) -> (sizes: Sizes, granularity: Int) {
        let ignores = CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING.rawValue
        let clusters = CU_DEV_SM_RESOURCE_SPLIT_MAX_POTENTIAL_CLUSTER_SIZE.rawValue
        guard flags & ~(ignores | clusters) == 0, flags & clusters == 0 || capabilityMajor >= 9 else {
            throw .invalidValue
        }
        var granularity = self.granularity
        if flags & ignores != 0 { granularity = 2 }
        if flags & clusters != 0 { granularity = max(granularity, Self.largestCluster) }
        guard minCount <= count else { throw .invalidResourceConfiguration }
        let size = (max(minCount, 1) + granularity - 1) / granularity * granularity
        let groups = min(count / size, groupsMax)
        guard count >= size else { throw .invalidResourceConfiguration }
        return (Sizes(groups: Array(repeating: size, count: groups), remainder: count - groups * size), granularity)
    }

    /// Groups as they are described, in their order.
    ///
    /// A size of 0 becomes what is left; that may be nothing, if no results are made.
    func sizes(
        splitting count: Int, into groups: [MultiprocessorGroup], makesResult: Bool
    ) throws(CUDAError) -> Sizes {
        var sizes = Sizes(groups: [], remainder: count)
        for group in groups {
            let size = try size(of: group, from: sizes.remainder, of: count)
            let coscheduled = try coscheduled(group)
            guard size >= coscheduled || !makesResult && size == 0 else { throw .invalidResourceConfiguration }
            sizes.groups.append(size)
            sizes.remainder -= size
        }
        return sizes
    }

    /// The multiprocessors of a group that are scheduled together.
    func coscheduled(_ group: MultiprocessorGroup) throws(CUDAError) -> Int {
        guard group.coscheduled > 0 else { return coscheduledDefault }
        let coscheduled = Int(group.coscheduled)
        guard coscheduled % 2 == 0, coscheduled <= coscheduledMax else { throw .invalidValue }
        return coscheduled
    }

    private func size(
        of group: MultiprocessorGroup, from left: Int, of count: Int
    ) throws(CUDAError) -> Int {
        let backfill = CU_DEV_SM_RESOURCE_GROUP_BACKFILL.rawValue
        let locality =
            CU_DEV_SM_RESOURCE_GROUP_LOCALITY_DOMAIN_ID.rawValue
            | CU_DEV_SM_RESOURCE_GROUP_LOCALITY_DOMAIN_SUPPLEMENTAL_SMS.rawValue
        guard group.flags & ~(backfill | locality) == 0 else { throw .invalidValue }
        // The device has no locality domains, so that none of its multiprocessors is in one.
        guard group.flags & locality == 0 else { throw .invalidResourceConfiguration }
        let coscheduled = try coscheduled(group)
        let preferred = Int(group.preferredCoscheduled)
        guard preferred == 0 || preferred % coscheduled == 0 else { throw .invalidValue }
        let unit = group.flags & backfill == 0 ? coscheduled : 2
        guard group.count > 0 else { return left / unit * unit }
        let size = Int(group.count)
        guard size >= 2, size <= count, size % unit == 0 else { throw .invalidValue }
        guard size <= left else { throw .invalidResourceConfiguration }
        return size
    }
}

extension CUDAError {
    static var invalidResourceConfiguration: Self { Self(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION) }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import SoftGPU

/// The rules by which multiprocessors are split, which depend on the compute capability.
@Suite struct MultiprocessorTests {
    private func byCount(
        _ count: Int, _ major: Int, minCount: Int, groupsMax: Int = 1000, flags: UInt32 = 0
    ) throws -> MultiprocessorSplitter.Sizes {
        try MultiprocessorSplitter(capabilityMajor: major).sizes(
            splitting: count, groupsMax: groupsMax, flags: flags, minCount: minCount
        ).sizes
    }

    @Test func roundsUpToWhatTheCapabilityAllows() throws {
        // Compute capability, multiprocessors, wanted; groups, size, remainder.
        let cases: [(Int, Int, Int, Int, Int, Int)] = [
            (6, 20, 3, 5, 4, 0), (7, 72, 5, 12, 6, 0), (8, 108, 10, 9, 12, 0), (8, 46, 4, 11, 4, 2),
            (9, 132, 16, 8, 16, 4), (9, 132, 17, 5, 24, 12), (12, 170, 1, 21, 8, 2),
        ]
        for (major, count, wanted, groups, size, remainder) in cases {
            let sizes = try byCount(count, major, minCount: wanted)
            #expect(sizes.groups == Array(repeating: size, count: groups), "\(major) \(count) \(wanted)")
            #expect(sizes.remainder == remainder, "\(major) \(count) \(wanted)")
        }
    }

    @Test func leavesTheRestWhenFewerGroupsAreWanted() throws {
        let sizes = try byCount(132, 9, minCount: 32, groupsMax: 2)
        #expect(sizes == MultiprocessorSplitter.Sizes(groups: [32, 32], remainder: 68))
    }

    @Test func canIgnoreWhatIsScheduledTogether() throws {
        let flags = CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING.rawValue
        #expect(try byCount(132, 9, minCount: 3, flags: flags).groups.first == 4)
        let clusters = CU_DEV_SM_RESOURCE_SPLIT_MAX_POTENTIAL_CLUSTER_SIZE.rawValue
        #expect(try byCount(132, 9, minCount: 3, flags: clusters).groups.first == 16)
        #expect(throws: CUDAError.invalidValue) { try byCount(72, 7, minCount: 3, flags: clusters) }
    }

    @Test func refusesMoreThanThereIs() {
        #expect(throws: CUDAError.invalidResourceConfiguration) { try byCount(20, 7, minCount: 21) }
        // One multiprocessor is less than the smallest part.
        #expect(throws: CUDAError.invalidResourceConfiguration) { try byCount(1, 7, minCount: 1) }
    }

    private func described(
        _ count: Int, _ major: Int, _ groups: [MultiprocessorGroup], makesResult: Bool = true
    ) throws -> MultiprocessorSplitter.Sizes {
        try MultiprocessorSplitter(capabilityMajor: major).sizes(
            splitting: count, into: groups, makesResult: makesResult)
    }

    @Test func takesGroupsInTheirOrder() throws {
        let backfill = CU_DEV_SM_RESOURCE_GROUP_BACKFILL.rawValue
        let groups = [
            MultiprocessorGroup(count: 8, coscheduled: 4),
            MultiprocessorGroup(count: 0, coscheduled: 2, flags: backfill),
        ]
        #expect(
            try described(23, 9, groups) == MultiprocessorSplitter.Sizes(groups: [8, 14], remainder: 1))
        // Without the flag only whole units of 8 are taken.
        #expect(
            try described(23, 9, [MultiprocessorGroup(count: 0)])
                == MultiprocessorSplitter.Sizes(groups: [16], remainder: 7))
    }

    @Test func anEmptyGroupCanBeFoundButNotMade() throws {
        let groups = [MultiprocessorGroup(count: 4), MultiprocessorGroup(count: 0)]
        #expect(try described(4, 7, groups, makesResult: false).groups == [4, 0])
        #expect(throws: CUDAError.invalidResourceConfiguration) { try described(4, 7, groups) }
    }

    @Test func refusesDescriptionsThatCannotBe() {
        let wrong: [(MultiprocessorGroup, CUDAError)] = [
            (MultiprocessorGroup(count: 3), .invalidValue), (MultiprocessorGroup(count: 40), .invalidValue),
            (MultiprocessorGroup(count: 4, coscheduled: 3), .invalidValue),
            (MultiprocessorGroup(count: 4, coscheduled: 4), .invalidValue),
            (MultiprocessorGroup(count: 4, preferredCoscheduled: 3), .invalidValue),
            (MultiprocessorGroup(count: 4, flags: 0x100), .invalidValue),
            (
                MultiprocessorGroup(count: 4, flags: CU_DEV_SM_RESOURCE_GROUP_LOCALITY_DOMAIN_ID.rawValue),
                .invalidResourceConfiguration
            ),
        ]
        for (group, error) in wrong {
            #expect(throws: error, "\(group)") { try described(20, 7, [group]) }
        }
    }

    /// Only what one split has made can be put together, and what a green context has can be split again.
    @Test func putsPartsOfOneSplitTogether() throws {
        var table = MultiprocessorTable()
        func part(_ processors: Range<Int>, _ split: MultiprocessorTable.Split?) throws -> ResourceNumber {
            try table.told(
                MultiprocessorTable.Resource(
                    device: 0, processors: Array(processors), minPartition: 2, alignment: 2, flags: 0, split: split)
            ).number
        }
        let first = MultiprocessorTable.Split(input: 1, parameters: [0])
        let second = MultiprocessorTable.Split(input: 1, parameters: [1])
        let parts = [try part(0..<2, first), try part(2..<4, first)]
        let together = try table.describe(parts)
        #expect(try table.descriptor(together).processors == [0, 1, 2, 3])
        #expect(try table.descriptor(together).split == nil)
        #expect(try table.describe(parts) == together)
        let other = try part(4..<6, second)
        #expect(throws: CUDAError.invalidResourceConfiguration) { try table.describe([parts[0], other]) }
        #expect(throws: CUDAError.invalidResourceConfiguration) { try table.describe([parts[0], parts[0]]) }
        #expect(throws: CUDAError.invalidValue) { try table.describe([]) }
    }
}

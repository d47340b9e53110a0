// SPDX-License-Identifier: Apache-2.0

package struct GreenContextHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }
}

/// A resource or a descriptor of resources, by the number that the driver which told it has given it.
///
/// Any number may come from a client; 0 is none.
package typealias ResourceNumber = UInt64

/// Some multiprocessors of a device.
package struct MultiprocessorResource: Sendable, Equatable, BitwiseCopyable {
    package var number: ResourceNumber
    package var count: UInt32
    /// The smallest part that can be split off.
    package var minPartition: UInt32
    /// Multiprocessors that are scheduled together; `count` is a multiple, unless ``flags`` allows others.
    package var alignment: UInt32
    /// CUdevSmResourceGroup_flags.
    package var flags: UInt32
    package var localityDomain: UInt32

    package init(
        number: ResourceNumber, count: UInt32, minPartition: UInt32, alignment: UInt32, flags: UInt32 = 0,
        localityDomain: UInt32 = 0
    ) {
        self.number = number
        self.count = count
        self.minPartition = minPartition
        self.alignment = alignment
        self.flags = flags
        self.localityDomain = localityDomain
    }
}

/// What is asked of one group of a split: a CU_DEV_SM_RESOURCE_GROUP_PARAMS.
package struct MultiprocessorGroup: Sendable, Equatable, BitwiseCopyable {
    /// 0: as many as there are.
    package var count: UInt32
    /// Multiprocessors that are scheduled together; 0 for the device's default.
    package var coscheduled: UInt32
    package var preferredCoscheduled: UInt32
    /// CUdevSmResourceGroup_flags.
    package var flags: UInt32
    package var localityDomain: UInt32

    package init(
        count: UInt32, coscheduled: UInt32 = 0, preferredCoscheduled: UInt32 = 0, flags: UInt32 = 0,
        localityDomain: UInt32 = 0
    ) {
        self.count = count
        self.coscheduled = coscheduled
        self.preferredCoscheduled = preferredCoscheduled
        self.flags = flags
        self.localityDomain = localityDomain
    }

    /// More groups than any device has multiprocessors is a damaged count.
    package static var countMax: Int { 1024 }
}

/// The outcome of a split.
package struct MultiprocessorSplit: Sendable, Equatable {
    package var groups: [MultiprocessorResource]
    /// What is left over; nil if nothing is.
    package var remainder: MultiprocessorResource?
    /// The sizes of the groups that were asked for, by ``MultiprocessorGroup``.
    package var counts: [UInt32]

    package init(groups: [MultiprocessorResource], remainder: MultiprocessorResource?, counts: [UInt32] = []) {
        self.groups = groups
        self.remainder = remainder
        self.counts = counts
    }
}

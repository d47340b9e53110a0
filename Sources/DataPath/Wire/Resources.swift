// SPDX-License-Identifier: Apache-2.0
package import Driver

// How multiprocessors and their groups are described.

extension PayloadWriter {
    package mutating func write(_ resource: MultiprocessorResource) {
        write(resource.number)
        write(resource.count)
        write(resource.minPartition)
        write(resource.alignment)
        write(resource.flags)
        write(resource.localityDomain)
    }

    package mutating func write(_ split: MultiprocessorSplit) {
        write(UInt32(split.groups.count))
        split.groups.forEach { write($0) }
        write(UInt8(split.remainder == nil ? 0 : 1))
        if let remainder = split.remainder { write(remainder) }
        write(UInt32(split.counts.count))
        split.counts.forEach { write($0) }
    }
}

extension MultiprocessorGroup {
    /// Bytes of one in a frame.
    package static var byteCount: Int { 20 }
}

extension FrameWriter {
    package mutating func write(_ groups: [MultiprocessorGroup]) {
        write(UInt32(groups.count))
        for group in groups {
            write(group.count)
            write(group.coscheduled)
            write(group.preferredCoscheduled)
            write(group.flags)
            write(group.localityDomain)
        }
    }
}

extension WireReader {
    @_lifetime(self: copy self)
    package mutating func readMultiprocessorGroups() throws(WireError) -> [MultiprocessorGroup] {
        let count = try read(UInt32.self)
        guard count <= MultiprocessorGroup.countMax else {
            throw .tooLong(Int(count), limit: MultiprocessorGroup.countMax)
        }
        var groups: [MultiprocessorGroup] = []
        for _ in 0..<count {
            groups.append(
                MultiprocessorGroup(
                    count: try read(UInt32.self), coscheduled: try read(UInt32.self),
                    preferredCoscheduled: try read(UInt32.self), flags: try read(UInt32.self),
                    localityDomain: try read(UInt32.self)))
        }
        return groups
    }

    @_lifetime(self: copy self)
    package mutating func readMultiprocessorResource() throws(WireError) -> MultiprocessorResource {
        MultiprocessorResource(
            number: try read(ResourceNumber.self), count: try read(UInt32.self), minPartition: try read(UInt32.self),
            alignment: try read(UInt32.self), flags: try read(UInt32.self), localityDomain: try read(UInt32.self))
    }

    @_lifetime(self: copy self)
    package mutating func readMultiprocessorSplit() throws(WireError) -> MultiprocessorSplit {
        var split = MultiprocessorSplit(groups: [], remainder: nil)
        for _ in 0..<(try readCount()) { split.groups.append(try readMultiprocessorResource()) }
        if try read(UInt8.self) != 0 { split.remainder = try readMultiprocessorResource() }
        for _ in 0..<(try readCount()) { split.counts.append(try read(UInt32.self)) }
        return split
    }
}

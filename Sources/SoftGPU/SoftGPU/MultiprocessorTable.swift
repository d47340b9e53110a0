// SPDX-License-Identifier: Apache-2.0
import Driver

/// The multiprocessors that a client has been told of, by numbers.
struct MultiprocessorTable {
    /// Which split a resource came from: only what one split made can be put together again.
    struct Split: Hashable {
        var input: ResourceNumber
        var parameters: [UInt32]
    }

    struct Resource: Hashable {
        var device: Int
        /// Numbers of the multiprocessors on the device.
        var processors: [Int]
        var minPartition: Int
        var alignment: Int
        var flags: UInt32
        var split: Split?
    }

    private var resources: [Resource] = []
    private var numbers: [Resource: ResourceNumber] = [:]
    private var descriptors: [Resource] = []
    private var descriptorNumbers: [Resource: ResourceNumber] = [:]

    /// A program has a few; one that splits without end is told CUDA_ERROR_OUT_OF_MEMORY.
    private static let countMax = 1 << 16

    /// The same resource has the same number.
    mutating func told(_ resource: Resource) throws(CUDAError) -> MultiprocessorResource {
        let number: ResourceNumber
        if let known = numbers[resource] {
            number = known
        } else {
            guard resources.count < Self.countMax else { throw .outOfMemory }
            resources.append(resource)
            number = ResourceNumber(resources.count)
            numbers[resource] = number
        }
        return MultiprocessorResource(
            number: number, count: UInt32(resource.processors.count), minPartition: UInt32(resource.minPartition),
            alignment: UInt32(resource.alignment), flags: resource.flags)
    }

    func resource(_ number: ResourceNumber) throws(CUDAError) -> Resource {
        guard number > 0, number <= resources.count else { throw .invalidValue }
        return resources[Int(number) - 1]
    }

    /// Puts resources of one split together.
    mutating func describe(_ chosen: [ResourceNumber]) throws(CUDAError) -> ResourceNumber {
        guard let first = chosen.first else { throw .invalidValue }
        var whole = try resource(first)
        for number in chosen.dropFirst() {
            let other = try resource(number)
            guard other.device == whole.device, other.split != nil, other.split == whole.split,
                other.alignment == whole.alignment, Set(other.processors).isDisjoint(with: whole.processors)
            else { throw .invalidResourceConfiguration }
            whole.processors += other.processors
        }
        // What a green context has can be split again.
        whole.split = nil
        if let known = descriptorNumbers[whole] { return known }
        guard descriptors.count < Self.countMax else { throw .outOfMemory }
        descriptors.append(whole)
        descriptorNumbers[whole] = ResourceNumber(descriptors.count)
        return ResourceNumber(descriptors.count)
    }

    func descriptor(_ number: ResourceNumber) throws(CUDAError) -> Resource {
        guard number > 0, number <= descriptors.count else { throw .invalidValue }
        return descriptors[Int(number) - 1]
    }
}

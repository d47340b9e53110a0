// SPDX-License-Identifier: Apache-2.0
import Glibc
import Management
import Wire

/// The arguments of one call of the library: read from the question, with room for what the function returns.
///
/// SAFETY: the room has the size that the public interface names; what a client chooses is limited and is the size that
/// the function is told. All of it is freed by ``free()``.
struct HostArguments {
    private enum Place {
        case device(UnsafeMutableRawPointer)
        case bytes(UnsafeMutableRawPointer, Int)
        case counted(UnsafeMutableRawPointer, Int)
        case text(UnsafeMutableRawPointer, Int)
        /// Elements of no bytes are devices.
        case list(UnsafeMutableRawPointer, room: UInt32, arrays: [(UnsafeMutableRawPointer?, Int)])
    }

    private var question: ValueReader
    private let devices: [UnsafeMutableRawPointer]
    private var places: [Place] = []
    private var allocations: [UnsafeMutableRawPointer] = []

    init(_ question: [UInt8], devices: [UnsafeMutableRawPointer]) {
        self.question = ValueReader(question)
        self.devices = devices
    }

    func free() { allocations.forEach { $0.deallocate() } }

    /// Zeroed memory.
    private mutating func room(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(byteCount, 1), alignment: 16)
        memset(memory, 0, max(byteCount, 1))
        allocations.append(memory)
        return memory
    }

    private mutating func room(holding bytes: ArraySlice<UInt8>) -> UnsafeMutableRawPointer {
        let memory = room(bytes.count)
        bytes.withUnsafeBytes { if let start = $0.baseAddress { memory.copyMemory(from: start, byteCount: $0.count) } }
        return memory
    }

    mutating func device() throws(MalformedQuestion) -> UnsafeMutableRawPointer? {
        let index = Int(try question.value(UInt32.self))
        guard devices.indices.contains(index) else { throw MalformedQuestion() }
        return devices[index]
    }

    mutating func madeDevice() throws(MalformedQuestion) -> UnsafeMutableRawPointer? {
        let place = room(MemoryLayout<UnsafeRawPointer>.size)
        places.append(.device(place))
        return place
    }

    mutating func value<Value: FixedWidthInteger>(_ type: Value.Type) throws(MalformedQuestion) -> Value {
        try question.value(type)
    }

    mutating func text() throws(MalformedQuestion) -> UnsafeMutableRawPointer? {
        room(holding: try question.counted(limit: ManagementLimits.textBytesMax) + [0])
    }

    mutating func result(_ byteCount: Int) throws(MalformedQuestion) -> UnsafeMutableRawPointer? {
        let place = room(byteCount)
        places.append(.bytes(place, byteCount))
        return place
    }

    mutating func exchanged(_ byteCount: Int) throws(MalformedQuestion) -> UnsafeMutableRawPointer? {
        let place = room(holding: try question.bytes(byteCount))
        places.append(.bytes(place, byteCount))
        return place
    }

    /// A structure that says its own size must have that size.
    mutating func versioned() throws(MalformedQuestion) -> UnsafeMutableRawPointer? {
        let bytes = try question.counted(limit: ManagementLimits.structureBytesMax)
        var reader = ValueReader(Array(bytes))
        guard Int(try reader.value(UInt32.self) & 0xFF_FFFF) == bytes.count else { throw MalformedQuestion() }
        let place = room(holding: bytes)
        places.append(.counted(place, bytes.count))
        return place
    }

    mutating func buffer() throws(MalformedQuestion) -> (start: UnsafeMutableRawPointer?, count: UInt32) {
        let count = try limitedCount(1, ManagementLimits.structureBytesMax)
        let place = room(Int(count))
        places.append(.text(place, Int(count)))
        return (place, count)
    }

    mutating func block() throws(MalformedQuestion) -> (start: UnsafeMutableRawPointer?, count: UInt32) {
        let count = try limitedCount(1, ManagementLimits.structureBytesMax)
        let place = room(Int(count))
        places.append(.counted(place, Int(count)))
        return (place, count)
    }

    mutating func list(
        _ elementBytes: [Int]
    ) throws(MalformedQuestion) -> (count: UnsafeMutableRawPointer?, arrays: [UnsafeMutableRawPointer?]) {
        let room = try limitedCount(elementBytes.reduce(0, +), ManagementLimits.arrayBytesMax)
        // A null array asks for the number of elements.
        let arrays = elementBytes.map { room == 0 ? nil : self.room(Int(room) * $0) }
        return (makeCount(room, zip(arrays, elementBytes).map { ($0, $1) }), arrays)
    }

    mutating func deviceList() throws(MalformedQuestion) -> (
        count: UnsafeMutableRawPointer?, start: UnsafeMutableRawPointer?
    ) {
        // The library may know more devices than the client, which must not fail for want of room.
        let room = try limitedCount(MemoryLayout<UnsafeRawPointer>.size, ManagementLimits.arrayBytesMax)
        let array = self.room(ManagementLimits.devicesMax * MemoryLayout<UnsafeRawPointer>.size)
        let count = makeCount(room, [(array, 0)])
        count.storeBytes(of: UInt32(ManagementLimits.devicesMax), as: UInt32.self)
        return (count, array)
    }

    private mutating func makeCount(
        _ room: UInt32, _ arrays: [(UnsafeMutableRawPointer?, Int)]
    ) -> UnsafeMutableRawPointer {
        let count = self.room(4)
        count.storeBytes(of: room, as: UInt32.self)
        places.append(.list(count, room: room, arrays: arrays))
        return count
    }

    mutating func exchangedArray(
        _ elementBytes: Int
    ) throws(MalformedQuestion) -> (start: UnsafeMutableRawPointer?, count: Int32) {
        let count = try limitedCount(elementBytes, ManagementLimits.structureBytesMax)
        return (try exchanged(Int(count) * elementBytes), Int32(count))
    }

    private mutating func limitedCount(_ elementBytes: Int, _ limit: Int) throws(MalformedQuestion) -> UInt32 {
        let count = try question.value(UInt32.self)
        guard Int(count) <= limit / max(1, elementBytes) else { throw MalformedQuestion() }
        return count
    }

    func finish() throws(MalformedQuestion) { try question.finish() }

    /// What the function has returned.
    func answer(_ status: UInt32) -> ManagementAnswer {
        var writer = PayloadWriter()
        var status = status
        for place in places where status == NVMLCode.success || status == NVMLCode.insufficientSize {
            switch place {
            case .list(let count, let room, let arrays):
                if arrays.contains(where: { $0.1 == 0 }) {
                    status = writeDevices(count, room: room, arrays[0].0, status, &writer)
                } else {
                    writeList(count, room: room, arrays, status, &writer)
                }
            case _ where status == NVMLCode.insufficientSize: break
            case .device(let place):
                guard let index = devices.firstIndex(where: { $0 == place.load(as: UnsafeMutableRawPointer?.self) })
                else { return ManagementAnswer(NVMLCode.notFound) }
                writer.write(UInt32(index))
            case .bytes(let place, let count):
                for byte in UnsafeRawBufferPointer(start: place, count: count) { writer.write(byte) }
            case .counted(let place, let count):
                writer.write(block: Array(UnsafeRawBufferPointer(start: place, count: count)))
            case .text(let place, let count):
                let length = strnlen(place.assumingMemoryBound(to: CChar.self), count)
                writer.write(block: Array(UnsafeRawBufferPointer(start: place, count: length)))
            }
        }
        return ManagementAnswer(status, bytes: writer.bytes)
    }

    private func writeList(
        _ count: UnsafeMutableRawPointer, room: UInt32, _ arrays: [(UnsafeMutableRawPointer?, Int)],
        _ status: UInt32, _ writer: inout PayloadWriter
    ) {
        let found = count.load(as: UInt32.self)
        guard status == NVMLCode.success else { return writer.write(found) }
        writer.write(min(found, room))
        for (array, elementBytes) in arrays {
            let bytes = UnsafeRawBufferPointer(start: array, count: array == nil ? 0 : Int(min(found, room)) * elementBytes)
            for byte in bytes { writer.write(byte) }
        }
    }

    /// Those of the found devices that are shown.
    private func writeDevices(
        _ count: UnsafeMutableRawPointer, room: UInt32, _ array: UnsafeMutableRawPointer?, _ status: UInt32,
        _ writer: inout PayloadWriter
    ) -> UInt32 {
        let found = Int(min(count.load(as: UInt32.self), UInt32(ManagementLimits.devicesMax)))
        let shown = (0..<found).compactMap { element -> Int? in
            let handle = array?.load(
                fromByteOffset: element * MemoryLayout<UnsafeRawPointer>.size, as: UnsafeMutableRawPointer?.self)
            return devices.firstIndex { $0 == handle }
        }
        writer.write(UInt32(shown.count))
        guard shown.count <= Int(room) else { return NVMLCode.insufficientSize }
        shown.forEach { writer.write(UInt32($0)) }
        return status
    }
}

// SPDX-License-Identifier: Apache-2.0
import CNVML
import Glibc
import Management
import Wire

/// A C argument and how it travels, as `NVMLDescription` describes it.
///
/// SAFETY: the caller of the C function promises that its pointers have room for what the public interface says.
enum Argument {
    case device(UnsafeMutableRawPointer?)
    case madeDevice(UnsafeMutableRawPointer?)
    case number(UInt64, byteCount: Int)
    case text(UnsafePointer<CChar>?)
    case result(UnsafeMutableRawPointer?, Int)
    case exchanged(UnsafeMutableRawPointer?, Int)
    case versioned(UnsafeMutableRawPointer?)
    case buffer(UnsafeMutableRawPointer?, UInt32)
    case block(UnsafeMutableRawPointer?, UInt32)
    case list(UnsafeMutablePointer<UInt32>?, [(UnsafeMutableRawPointer?, Int)])
    case exchangedArray(Int32, UnsafeMutableRawPointer?, Int)

    static func value(_ number: UInt32) -> Self { .number(UInt64(number), byteCount: 4) }
    static func value(_ number: UInt64) -> Self { .number(number, byteCount: 8) }
    static func devices(_ count: UnsafeMutablePointer<UInt32>?, _ array: UnsafeMutableRawPointer?) -> Self {
        .list(count, [(array, 0)])
    }
}

/// A call ends here, with this result code.
struct Refusal: Error {
    let status: UInt32

    static let invalidArgument = Refusal(status: NVMLCode.invalidArgument)
}

extension Argument {
    /// Puts what the caller gives into the question.
    func write(to question: inout PayloadWriter, deviceCount: Int) throws(Refusal) {
        switch self {
        case .device(let handle):
            guard let index = DeviceHandle.index(of: handle, count: deviceCount) else { throw .invalidArgument }
            question.write(UInt32(index))
        case .madeDevice(let place):
            guard place != nil else { throw .invalidArgument }
        case .result: break
        case .number(let number, let byteCount):
            if byteCount == 8 { question.write(number) } else { question.write(UInt32(truncatingIfNeeded: number)) }
        case .text(let text):
            guard let text, strnlen(text, ManagementLimits.textBytesMax) < ManagementLimits.textBytesMax else {
                throw .invalidArgument
            }
            question.write(block: Array(UnsafeRawBufferPointer(start: text, count: strlen(text))))
        case .exchanged(let place, let byteCount):
            guard let place else { throw .invalidArgument }
            for byte in UnsafeRawBufferPointer(start: place, count: byteCount) { question.write(byte) }
        case .versioned(let place):
            question.write(block: Array(try Argument.structure(place)))
        case .buffer(let place, let length), .block(let place, let length):
            guard place != nil else { throw .invalidArgument }
            question.write(min(length, UInt32(ManagementLimits.structureBytesMax)))
        case .list(let count, let arrays):
            guard let count else { throw .invalidArgument }
            let hasRoom = arrays.allSatisfy { $0.0 != nil }
            let limit = ManagementLimits.arrayBytesMax / max(4, arrays.reduce(0) { $0 + $1.1 })
            question.write(hasRoom ? min(count.pointee, UInt32(limit)) : 0)
        case .exchangedArray(let count, let place, let byteCount):
            guard let place, count > 0, Int(count) <= ManagementLimits.structureBytesMax / byteCount else {
                throw .invalidArgument
            }
            question.write(UInt32(count))
            for byte in UnsafeRawBufferPointer(start: place, count: Int(count) * byteCount) { question.write(byte) }
        }
    }

    /// Whether a caller wants something: of several results it may leave some out, but not all.
    static func hasPlace(_ arguments: [Argument]) -> Bool {
        var isMissing = false
        for argument in arguments {
            guard case .result(let place, _) = argument else { continue }
            if place != nil { return true }
            isMissing = true
        }
        return !isMissing
    }

    /// The structure behind a pointer, as long as its first word says.
    private static func structure(_ place: UnsafeMutableRawPointer?) throws(Refusal) -> UnsafeMutableRawBufferPointer {
        guard let place else { throw .invalidArgument }
        let byteCount = Int(place.loadUnaligned(as: UInt32.self) & 0xFF_FFFF)
        guard byteCount >= 4, byteCount <= ManagementLimits.structureBytesMax else {
            throw Refusal(status: NVMLCode.versionMismatch)
        }
        return UnsafeMutableRawBufferPointer(start: place, count: byteCount)
    }

    /// Stores what the answer says where the caller wants it.
    func store(_ answer: inout ValueReader) throws(MalformedQuestion) {
        switch self {
        case .device, .number, .text: break
        case .madeDevice(let place):
            let index = Int(try answer.value(UInt32.self))
            place?.storeBytes(of: DeviceHandle.handle(index), as: UnsafeMutableRawPointer?.self)
        case .result(let place, let byteCount), .exchanged(let place, let byteCount):
            Argument.copy(try answer.bytes(byteCount), to: place)
        case .versioned(let place):
            let bytes = try answer.counted(limit: ManagementLimits.structureBytesMax)
            guard let room = try? Argument.structure(place), bytes.count == room.count else {
                throw MalformedQuestion()
            }
            Argument.copy(bytes, to: place)
        case .buffer(let place, let length):
            let bytes = try answer.counted(limit: ManagementLimits.structureBytesMax)
            guard bytes.count < Int(length) else { throw MalformedQuestion() }
            Argument.copy(bytes, to: place)
            place?.storeBytes(of: 0, toByteOffset: bytes.count, as: UInt8.self)
        case .block(let place, let length):
            let bytes = try answer.counted(limit: ManagementLimits.structureBytesMax)
            guard bytes.count <= Int(length) else { throw MalformedQuestion() }
            Argument.copy(bytes, to: place)
        case .list(let count, let arrays):
            let found = try answer.value(UInt32.self)
            guard let count, found <= count.pointee || found == 0 else { throw MalformedQuestion() }
            for (place, byteCount) in arrays {
                if byteCount == 0 {
                    try Argument.storeDevices(Int(found), at: place, &answer)
                } else {
                    Argument.copy(try answer.bytes(Int(found) * byteCount), to: place)
                }
            }
            count.pointee = found
        case .exchangedArray(let count, let place, let byteCount):
            Argument.copy(try answer.bytes(Int(count) * byteCount), to: place)
        }
    }

    /// Stores how many elements the caller should have had room for.
    func storeNeed(_ answer: inout ValueReader) throws(MalformedQuestion) {
        if case .list(let count, _) = self { count?.pointee = try answer.value(UInt32.self) }
    }

    private static func copy(_ bytes: ArraySlice<UInt8>, to place: UnsafeMutableRawPointer?) {
        bytes.withUnsafeBytes { if let start = $0.baseAddress { place?.copyMemory(from: start, byteCount: $0.count) } }
    }

    private static func storeDevices(
        _ count: Int, at place: UnsafeMutableRawPointer?, _ answer: inout ValueReader
    ) throws(MalformedQuestion) {
        for element in 0..<count {
            let index = Int(try answer.value(UInt32.self))
            place?.storeBytes(
                of: DeviceHandle.handle(index), toByteOffset: element * MemoryLayout<UnsafeRawPointer>.stride,
                as: UnsafeMutableRawPointer?.self)
        }
    }
}

/// What callers take for an `nvmlDevice_t`: a number that is no address shows up as such in a debugger.
enum DeviceHandle {
    private static let base = 0x5347_0000

    static func handle(_ index: Int) -> UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: base + index) }

    /// Nil for everything that is no device.
    static func index(of handle: UnsafeMutableRawPointer?, count: Int) -> Int? {
        let index = Int(bitPattern: handle) &- base
        return (0..<count).contains(index) ? index : nil
    }
}

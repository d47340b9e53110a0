// SPDX-License-Identifier: Apache-2.0
import TraceFormat

/// Writes the arguments of one call into a record.
///
/// It never fails: what has no place any more is marked as cut. Places of results are read only after a success.
///
/// SAFETY: the buffer is the recorder's for the duration of the call; pointers are those that the caller of the
/// exported function promised to be valid.
package struct ArgumentWriter {
    private let start: UnsafeMutablePointer<UInt8>
    private let capacity: Int
    private let succeeded: Bool
    private(set) var used = 0
    private(set) var count: UInt8 = 0
    private var isFull = false

    /// The longest argument: a tag and two numbers, or a text.
    private static let argumentBytesMax = TraceFormat.textBytesMax + 16

    init(_ buffer: UnsafeMutablePointer<UInt8>, capacity: Int, succeeded: Bool) {
        start = buffer
        self.capacity = capacity
        self.succeeded = succeeded
    }

    package mutating func add(_ value: Int) { signed(Int64(value)) }
    package mutating func add(_ value: Int32) { signed(Int64(value)) }
    package mutating func add(_ value: CChar) { signed(Int64(value)) }
    package mutating func add(_ value: UInt64) { unsigned(value) }
    package mutating func add(_ value: UInt32) { unsigned(UInt64(value)) }
    package mutating func add(_ value: UInt16) { unsigned(UInt64(value)) }
    package mutating func add(_ value: UInt8) { unsigned(UInt64(value)) }

    package mutating func add(_ value: Float) {
        guard begin(.float) else { return }
        for shift in stride(from: 0, to: 32, by: 8) { byte(UInt8(truncatingIfNeeded: value.bitPattern >> shift)) }
    }

    /// An enumeration of C.
    package mutating func add<Value: RawRepresentable>(_ value: Value) where Value.RawValue == UInt32 {
        unsigned(UInt64(value.rawValue))
    }

    /// A device address or the number of an object.
    package mutating func add(handle value: UInt64) { hexadecimal(value) }
    package mutating func add(_ pointer: OpaquePointer?) { hexadecimal(UInt64(UInt(bitPattern: pointer))) }
    package mutating func add(_ pointer: UnsafeRawPointer?) { hexadecimal(UInt64(UInt(bitPattern: pointer))) }
    package mutating func add(_ pointer: UnsafeMutableRawPointer?) { hexadecimal(UInt64(UInt(bitPattern: pointer))) }
    package mutating func add<Value>(_ pointer: UnsafePointer<Value>?) {
        hexadecimal(UInt64(UInt(bitPattern: pointer)))
    }
    package mutating func add<Value>(_ pointer: UnsafeMutablePointer<Value>?) {
        hexadecimal(UInt64(UInt(bitPattern: pointer)))
    }

    /// A C string.
    package mutating func add(_ text: UnsafePointer<CChar>?) {
        guard let text else { return hexadecimal(0) }
        var length = 0
        while length <= TraceFormat.textBytesMax && text[length] != 0 { length += 1 }
        guard begin(length > TraceFormat.textBytesMax ? .cutText : .text) else { return }
        length = min(length, TraceFormat.textBytesMax)
        number(UInt64(length))
        for index in 0..<length { byte(UInt8(bitPattern: text[index])) }
    }

    /// A function of the application, or a small structure.
    @_disfavoredOverload
    package mutating func add<Value>(_ value: Value) {
        guard MemoryLayout<Value>.size == MemoryLayout<UInt>.size else {
            _ = begin(.opaque)
            return
        }
        hexadecimal(UInt64(withUnsafeBytes(of: value) { $0.loadUnaligned(as: UInt.self) }))
    }

    // The places of results.

    package mutating func add(made place: UnsafeMutablePointer<UInt64>?) {
        made(UInt(bitPattern: place), place.map { succeeded ? $0.pointee : 0 })
    }
    package mutating func add(made place: UnsafeMutablePointer<OpaquePointer?>?) {
        made(UInt(bitPattern: place), place.map { succeeded ? UInt64(UInt(bitPattern: $0.pointee)) : 0 })
    }
    package mutating func add(made place: UnsafeMutablePointer<UnsafeMutableRawPointer?>?) {
        made(UInt(bitPattern: place), place.map { succeeded ? UInt64(UInt(bitPattern: $0.pointee)) : 0 })
    }
    package mutating func add(result place: UnsafeMutablePointer<Int>?) {
        result(UInt(bitPattern: place), place.map { succeeded ? Int64($0.pointee) : 0 })
    }
    package mutating func add(result place: UnsafeMutablePointer<Int32>?) {
        result(UInt(bitPattern: place), place.map { succeeded ? Int64($0.pointee) : 0 })
    }
    package mutating func add(result place: UnsafeMutablePointer<UInt32>?) {
        result(UInt(bitPattern: place), place.map { succeeded ? Int64($0.pointee) : 0 })
    }
    /// The place of a handle, or of a number of 4 or 8 bytes.
    package mutating func add(made place: UnsafeMutableRawPointer?) {
        made(UInt(bitPattern: place), place.map { succeeded ? $0.loadUnaligned(as: UInt64.self) : 0 })
    }
    package mutating func add(result place: UnsafeMutableRawPointer?, byteCount: Int) {
        let value = place.map { place -> Int64 in
            guard succeeded else { return 0 }
            return byteCount == 4
                ? Int64(place.loadUnaligned(as: UInt32.self))
                : Int64(truncatingIfNeeded: place.loadUnaligned(as: UInt64.self))
        }
        result(UInt(bitPattern: place), value)
    }

    private mutating func made(_ place: UInt, _ value: UInt64?) {
        guard succeeded, let value else { return hexadecimal(UInt64(place)) }
        guard begin(.made) else { return }
        number(UInt64(place))
        number(value)
    }

    private mutating func result(_ place: UInt, _ value: Int64?) {
        guard succeeded, let value else { return hexadecimal(UInt64(place)) }
        guard begin(.result) else { return }
        number(UInt64(place))
        number(zigzag(value))
    }

    private mutating func signed(_ value: Int64) { if begin(.signed) { number(zigzag(value)) } }
    private mutating func unsigned(_ value: UInt64) { if begin(.unsigned) { number(value) } }
    private mutating func hexadecimal(_ value: UInt64) { if begin(.hexadecimal) { number(value) } }

    /// Writes the tag of an argument; false when there is no place for it.
    private mutating func begin(_ tag: TraceFormat.Tag) -> Bool {
        guard !isFull, Int(count) < TraceFormat.argumentsMax - 1, used + ArgumentWriter.argumentBytesMax < capacity
        else {
            if !isFull {
                byte(TraceFormat.Tag.cut.rawValue)
                count += 1
            }
            isFull = true
            return false
        }
        byte(tag.rawValue)
        count += 1
        return true
    }

    private mutating func byte(_ value: UInt8) {
        start[used] = value
        used += 1
    }

    private mutating func number(_ value: UInt64) { used += store(value, at: start + used) }
}

/// A signed number with its sign in the lowest bit, so that small ones are short.
func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: value << 1 ^ value >> 63) }

/// Stores a number in groups of seven bits and returns how many bytes it took: at most 10.
func store(_ value: UInt64, at place: UnsafeMutablePointer<UInt8>) -> Int {
    var rest = value
    var count = 0
    while rest >= 0x80 {
        place[count] = UInt8(truncatingIfNeeded: rest) | 0x80
        rest >>= 7
        count += 1
    }
    place[count] = UInt8(rest)
    return count + 1
}

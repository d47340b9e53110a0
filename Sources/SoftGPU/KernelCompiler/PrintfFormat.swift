// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import Glibc

/// What a kernel's printf prints: C's rules over CUDA's argument buffer, in which each argument takes its own size at
/// its natural alignment (4 or 8 bytes) and strings are pointers.
package func formatPrintf(format: UnsafePointer<CChar>, arguments: UnsafeRawPointer) -> [UInt8] {
    var formatter = PrintfFormatter(arguments: arguments)
    formatter.run(UnsafeRawPointer(format).assumingMemoryBound(to: UInt8.self))
    return formatter.output
}

private struct PrintfFormatter {
    /// One number or string may not be wider than this, whatever the format says.
    private static let fieldBytesMax = 1 << 16

    var output: [UInt8] = []
    private let arguments: UnsafeRawPointer
    private var offset = 0

    init(arguments: UnsafeRawPointer) { self.arguments = arguments }

    mutating func run(_ format: UnsafePointer<UInt8>) {
        var next = format
        while next.pointee != 0 {
            guard next.pointee == UInt8(ascii: "%") else {
                output.append(next.pointee)
                next += 1
                continue
            }
            next = conversion(next)
        }
    }

    private mutating func take<T: FixedWidthInteger>(_ type: T.Type) -> T {
        let size = MemoryLayout<T>.size
        offset = (offset + size - 1) / size * size
        defer { offset += size }
        return arguments.loadUnaligned(fromByteOffset: offset, as: type)
    }

    /// Formats one conversion and returns what follows it.
    ///
    /// A conversion that C does not have is printed as it is.
    private mutating func conversion(_ start: UnsafePointer<UInt8>) -> UnsafePointer<UInt8> {
        var next = start + 1
        if next.pointee == UInt8(ascii: "%") {
            output.append(next.pointee)
            return next + 1
        }
        var specification: [UInt8] = [UInt8(ascii: "%")]
        while "-+ #0".utf8.contains(next.pointee) {
            specification.append(next.pointee)
            next += 1
        }
        let fits = widthOrPrecision(&next, &specification, isPrecision: false)
        var isBounded = fits
        if next.pointee == UInt8(ascii: ".") {
            specification.append(next.pointee)
            next += 1
            isBounded = widthOrPrecision(&next, &specification, isPrecision: true) && isBounded
        }
        var isWide = false
        while "hljztLq".utf8.contains(next.pointee) {
            if "ljztLq".utf8.contains(next.pointee) { isWide = true }
            next += 1
        }
        let kind = next.pointee
        guard isBounded, "diouxXcsfFeEgGaAp".utf8.contains(kind) else {
            output += UnsafeBufferPointer(start: start, count: start.distance(to: next))
            return next
        }
        format(kind, specification, isWide)
        return next + 1
    }

    /// A number or `*`; false when it is beyond all reason.
    private mutating func widthOrPrecision(
        _ next: inout UnsafePointer<UInt8>, _ specification: inout [UInt8], isPrecision: Bool
    ) -> Bool {
        var value = 0
        if next.pointee == UInt8(ascii: "*") {
            value = Int(take(Int32.self))
            next += 1
            specification += Array(String(value).utf8)
            return abs(value) < Self.fieldBytesMax / 2
        }
        while next.pointee &- UInt8(ascii: "0") < 10 {
            value = min(value * 10 + Int(next.pointee - UInt8(ascii: "0")), Self.fieldBytesMax)
            specification.append(next.pointee)
            next += 1
        }
        return value < Self.fieldBytesMax / 2
    }

    private mutating func format(_ kind: UInt8, _ specification: [UInt8], _ isWide: Bool) {
        let isInteger = "diouxX".utf8.contains(kind)
        let modifier = isInteger && isWide ? Array("ll".utf8) : []
        let specification = (specification + modifier + [kind, 0]).map { CChar(bitPattern: $0) }
        switch kind {
        case UInt8(ascii: "s"):
            let text = UnsafePointer<CChar>(bitPattern: UInt(take(UInt64.self)))
            if let text {
                append { sg_format_text($0, $1, specification, text) }
            } else {
                output += Array("(null)".utf8)
            }
        case UInt8(ascii: "p"):
            let pointer = UnsafeRawPointer(bitPattern: UInt(take(UInt64.self)))
            append { sg_format_pointer($0, $1, specification, pointer) }
        case UInt8(ascii: "c"):
            let value = UInt64(truncatingIfNeeded: take(Int32.self))
            append { sg_format_integer($0, $1, specification, value, 0) }
        case _ where isInteger:
            let value = isWide ? take(UInt64.self) : UInt64(take(UInt32.self))
            append { sg_format_integer($0, $1, specification, value, isWide ? 1 : 0) }
        default:
            let value = Double(bitPattern: take(UInt64.self))
            append { sg_format_double($0, $1, specification, value) }
        }
    }

    private mutating func append(_ print: (UnsafeMutablePointer<CChar>?, UInt64) -> Int32) {
        let length = Int(print(nil, 0))
        guard length > 0, length < 64 << 20 else { return }
        let text = [CChar](unsafeUninitializedCapacity: length + 1) { buffer, count in
            count = min(Int(print(buffer.baseAddress, UInt64(length + 1))), length)
        }
        output += text.map { UInt8(bitPattern: $0) }
    }
}

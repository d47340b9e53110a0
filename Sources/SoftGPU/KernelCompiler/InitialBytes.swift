// SPDX-License-Identifier: Apache-2.0
import PTX

/// The contents that the PTX text gives a variable.
enum InitialBytes {
    static func bytes(of index: Int, in contents: PTXProgram.Contents) -> [UInt8] {
        let linked = contents.linker.variables[index]
        let variable = linked.variable
        var bytes = [UInt8](repeating: 0, count: variable.size)
        let width = variable.type.bytes
        for (position, value) in variable.initial.enumerated() {
            let bits = bits(of: value, variable.type, linked.module, contents)
            for byte in 0..<width where position * width + byte < bytes.count {
                bytes[position * width + byte] = byte < 8 ? UInt8(truncatingIfNeeded: bits >> UInt64(8 * byte)) : 0
            }
        }
        return bytes
    }

    private static func bits(
        of value: InitialValue, _ type: ScalarType, _ module: Int, _ contents: PTXProgram.Contents
    ) -> UInt64 {
        switch value {
        case .bits(let bits): return bits
        case .number(let number):
            switch type {
            case .f32: return UInt64(Float(number).bitPattern)
            case .f64: return number.bitPattern
            default: return UInt64(bitPattern: Int64(exactly: number.rounded(.towardZero)) ?? 0)
            }
        case .address(let name, let offset, let shift, let isByte):
            let base: UInt64
            switch contents.linker.symbol(name, in: module) {
            case .variable(let position)?: base = contents.address(ofVariable: position) ?? 0
            case .function(let position)?: base = UInt64(contents.address(ofFunction: position))
            case .builtin?, nil: base = 0
            }
            let address = base &+ UInt64(bitPattern: offset)
            return isByte ? address >> UInt64(shift) & 0xFF : address
        }
    }
}

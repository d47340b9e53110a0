// SPDX-License-Identifier: Apache-2.0
import PTX

/// The types of LLVM values that PTX values become.
enum LLVMType: String {
    case i1, i8, i16, i32, i64, i128, half, float, double
    case half2 = "<2 x half>"

    var bits: Int {
        switch self {
        case .i1: 1
        case .i8: 8
        case .i16, .half: 16
        case .i32, .float, .half2: 32
        case .i64, .double: 64
        case .i128: 128
        }
    }

    var isInteger: Bool {
        switch self {
        case .half, .float, .double, .half2: false
        default: true
        }
    }

    /// The name that LLVM gives the type in overloaded intrinsics.
    var suffix: String {
        switch self {
        case .half: "f16"
        case .float: "f32"
        case .double: "f64"
        case .half2: "v2f16"
        default: rawValue
        }
    }

    static func integer(bits: Int) -> LLVMType {
        switch bits {
        case 1: .i1
        case 8: .i8
        case 16: .i16
        case 32: .i32
        case 64: .i64
        default: .i128
        }
    }
}

extension ScalarType {
    /// How a value of this type is computed with.
    ///
    /// Both bfloat types stay integers: LLVM computes with them elsewhere.
    var llvm: LLVMType {
        switch self {
        case .f16: .half
        case .f16x2: .half2
        case .f32: .float
        case .f64: .double
        default: .integer(bits: bits)
        }
    }
}

/// An LLVM value by its text (a name or constant) and type.
struct Value {
    var text: String
    var type: LLVMType

    /// As an argument or operand: type and text.
    var typed: String { "\(type.rawValue) \(text)" }
}

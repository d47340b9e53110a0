// SPDX-License-Identifier: Apache-2.0

/// The fundamental types of PTX (PTX ISA, "Fundamental Types"), and the packed ones made of two halves.
package enum ScalarType: String, Sendable, CaseIterable {
    case pred
    case b8, b16, b32, b64, b128
    case u8, u16, u32, u64
    case s8, s16, s32, s64
    case f16, f16x2, bf16, bf16x2, f32, f64
    case u16x2, s16x2

    /// The width in bits; a predicate has one.
    package var bits: Int {
        switch self {
        case .pred: 1
        case .b8, .u8, .s8: 8
        case .b16, .u16, .s16, .f16, .bf16: 16
        case .b32, .u32, .s32, .f32, .f16x2, .bf16x2, .u16x2, .s16x2: 32
        case .b64, .u64, .s64, .f64: 64
        case .b128: 128
        }
    }

    /// The size in memory; predicates are never stored, but a variable of that type would take one byte.
    package var bytes: Int { max(1, bits / 8) }

    package var isSigned: Bool {
        switch self {
        case .s8, .s16, .s32, .s64, .s16x2: true
        default: false
        }
    }

    package var isFloat: Bool {
        switch self {
        case .f16, .f16x2, .bf16, .bf16x2, .f32, .f64: true
        default: false
        }
    }

    private static let byName: [String: ScalarType] = Dictionary(
        uniqueKeysWithValues: allCases.map { ($0.rawValue, $0) })

    /// The type that a word after a dot names, if it names one.
    package static func named(_ word: String) -> ScalarType? { byName[word] }
}

/// Where a variable lives (PTX ISA, "State Spaces").
///
/// `generic` is the space of instructions that name none.
package enum StateSpace: String, Sendable {
    case generic, global, shared, local, param, const
}

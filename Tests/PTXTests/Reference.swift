// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What the special functions approximate.
func reference(_ name: String, _ x: Double) -> Double {
    switch name {
    case "sin": sin(x)
    case "cos": cos(x)
    case "ex2": exp2(x)
    case "lg2": log2(x)
    case "rsqrt": 1 / sqrt(x)
    case "rcp": 1 / x
    case "sqrt": sqrt(x)
    default: tanh(x)
    }
}

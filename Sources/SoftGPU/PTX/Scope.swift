// SPDX-License-Identifier: Apache-2.0

/// What a name means inside a block `{ ... }` of a function.
enum Declaration {
    case register(Int)
    case variable(Int)
}

/// The registers that `.reg .b32 %r<100>` declares: made one by one when first used, so that a large count costs
/// nothing.
struct RegisterFamily {
    var type: ScalarType
    var count: UInt64
}

/// The names declared in one block of a function, which hide those of the blocks around it.
struct Scope {
    var parent: Int?
    var declarations: [String: Declaration] = [:]
    var families: [String: RegisterFamily] = [:]
    var labels: [String: Int] = [:]

    /// The family and number of a name such as `%rd12`, if this block declares it.
    func family(of name: String) -> RegisterFamily? {
        guard !families.isEmpty else { return nil }
        let utf8 = name.utf8
        var split = utf8.endIndex
        while split > utf8.startIndex {
            let before = utf8.index(before: split)
            guard utf8[before] &- UInt8(ascii: "0") < 10 else { break }
            split = before
            // `%r10` belongs to `%r<..>`, but `%r1<..>` may exist as well: try every cut, longest number last.
            if let family = families[String(name[..<split])], let number = UInt64(name[split...]),
                number < family.count
            {
                return family
            }
        }
        return nil
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A parsed PTX text: its functions and variables in the order of the text.
package struct Module: Sendable {
    /// `.version 9.5` is 95.
    package var version = 0
    /// `.target sm_75` is 75.
    package var target = 0
    package var functions: [Function] = []
    package var variables: [Variable] = []
    /// `.alias a, b`: the function `a` is another name of `b`.
    package var aliases: [String: String] = [:]

    package init() {}
}

package enum Linkage: Sendable {
    /// Seen by its own text only.
    case module
    case visible
    case weak
    case common
    case extern
}

/// What a module's variable names that is not memory.
package enum ReferenceKind: Sendable {
    case texture, surface
}

/// A variable: of a module, of a function, or a parameter.
package struct Variable: Sendable {
    package var name: String
    package var space: StateSpace
    package var type: ScalarType
    /// Elements, counting those of a vector type; 0 for `x[]`.
    package var count: Int
    package var alignment: Int
    package var linkage: Linkage
    package var initial: [InitialValue]
    package var line: Int
    /// What a `.texref` or `.surfref` stands for; nil for memory.
    package var reference: ReferenceKind?

    package var size: Int { type.bytes * count }
}

/// One element of an initialiser.
package enum InitialValue: Sendable, Equatable {
    /// The bits of a number, to be cut to the element's width.
    case bits(UInt64)
    /// A decimal number, kept as a double until the element's type is known.
    case number(Double)
    /// The address of a variable or function plus `offset`; only the byte `shift / 8` of it when `isByte`.
    case address(of: String, offset: Int64, shift: Int, isByte: Bool)
}

package struct Register: Sendable {
    package var name: String
    package var type: ScalarType
}

/// A function (`.func`) or kernel (`.entry`), or the declaration of one.
package struct Function: Sendable {
    package var name: String
    package var isKernel: Bool
    package var linkage: Linkage
    package var line: Int
    package var isDeclaration = true
    package var returns: [Int] = []
    package var parameters: [Int] = []
    /// `.maxntid` or `.reqntid`, as a number of threads.
    package var threadsMax: Int?

    /// Registers, named by their index.
    package var registers: [Register] = []
    /// Parameters and the variables declared in the body, named by their index.
    package var variables: [Variable] = []
    package var labelCount = 0
    package var statements: [Statement] = []
    /// What each `.name` operand means.
    package var names: [NameMeaning] = []
    /// The lists declared by `.branchtargets`, by label.
    package var branchTargets: [Int: [Int]] = [:]
    /// The prototypes declared by `.callprototype`, by label.
    package var prototypes: [Int: Prototype] = [:]
}

package struct Prototype: Sendable {
    package var returnCount: Int
    package var parameterCount: Int
}

package enum NameMeaning: Sendable {
    case label(Int)
    /// A function or variable of the module, or of another text linked with it.
    case module(String)
}

package enum Statement: Sendable {
    case label(Int)
    case instruction(Instruction)
}

package struct Guard: Sendable {
    package var register: Int
    package var isNegated: Bool
}

/// One instruction, with its dotted words sorted into types and the rest, each in the order of the text.
package struct Instruction: Sendable {
    package var line: Int
    package var opcode: String
    package var guardedBy: Guard?
    package var types: [ScalarType] = []
    package var modifiers: [String] = []
    package var operands: [Operand] = []

    package func has(_ modifier: String) -> Bool { modifiers.contains(modifier) }

    /// The instruction's name as written, for messages.
    package var spelling: String {
        ([opcode] + modifiers + types.map(\.rawValue)).joined(separator: ".")
    }
}

package indirect enum Operand: Sendable {
    case register(Int)
    /// A special register without its percent sign, such as `tid.x`.
    case special(String)
    case integer(UInt64)
    case float32(UInt32)
    case float64(UInt64)
    /// The address of a variable of the function.
    case variable(Int, offset: Int64)
    /// A label or a name of the module, see `Function.names`.
    case name(Int, offset: Int64)
    /// A memory operand: base and byte offset. Coordinates of textures follow in `rest`.
    case address(Operand, offset: Int64, rest: [Operand])
    case vector([Operand])
    /// The parenthesised lists of `call`.
    case list([Operand])
    /// `a|b`
    case pair(Operand, Operand)
    /// `!p`
    case not(Operand)
    /// `_`
    case sink
}

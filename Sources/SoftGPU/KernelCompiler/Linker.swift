// SPDX-License-Identifier: Apache-2.0
import PTX

/// What a name of the module level means.
enum Symbol {
    case function(Int)
    case variable(Int)
    /// A function that the software GPU provides.
    case builtin(Builtin)
}

/// Functions that CUDA programs expect from the device's system library.
enum Builtin: String {
    case vprintf, malloc, free
    case assertFail = "__assertfail"
    case setConditional = "cudaGraphSetConditional"
    case trap = "__trap"
}

/// Several PTX texts joined into one program: every name that one of them leaves open is found in another.
struct Linker {
    struct LinkedFunction: Sendable {
        var function: Function
        var module: Int
    }

    struct LinkedVariable: Sendable {
        var variable: Variable
        var module: Int
    }

    let modules: [Module]
    private(set) var functions: [LinkedFunction] = []
    private(set) var variables: [LinkedVariable] = []
    /// Names seen by one text only, by text.
    private var own: [[String: Symbol]]
    /// Names seen by all texts.
    private var shared: [String: Symbol] = [:]

    init(_ modules: [Module]) throws(PTXError) {
        self.modules = modules
        own = Array(repeating: [:], count: modules.count)
        for (index, module) in modules.enumerated() {
            for variable in module.variables { try add(variable, of: index) }
            for function in module.functions where !function.isDeclaration { try add(function, of: index) }
        }
        for (index, module) in modules.enumerated() { addAliases(of: module, index) }
        for function in functions { try checkNames(of: function) }
        for variable in variables { try checkInitial(of: variable) }
    }

    func symbol(_ name: String, in module: Int) -> Symbol? {
        own[module][name] ?? shared[name] ?? Builtin(rawValue: name).map { .builtin($0) }
    }

    private mutating func add(_ function: Function, of module: Int) throws(PTXError) {
        let symbol = Symbol.function(functions.count)
        switch function.linkage {
        case .weak where shared[function.name] != nil: return
        case .module where !function.isKernel:
            guard own[module].updateValue(symbol, forKey: function.name) == nil else {
                throw .invalid("the function '\(function.name)' is defined twice", line: function.line)
            }
        default:
            if let before = shared.updateValue(symbol, forKey: function.name) {
                guard case .function(let index) = before, functions[index].function.linkage == .weak else {
                    throw .invalid("'\(function.name)' is defined twice", line: function.line)
                }
            }
        }
        functions.append(LinkedFunction(function: function, module: module))
    }

    private mutating func add(_ variable: Variable, of module: Int) throws(PTXError) {
        let symbol = Symbol.variable(variables.count)
        let isDynamicShared = variable.space == .shared && variable.count == 0
        switch variable.linkage {
        case .extern where !isDynamicShared: return
        case .module, .extern:
            guard own[module].updateValue(symbol, forKey: variable.name) == nil else {
                throw .invalid("the variable '\(variable.name)' is defined twice", line: variable.line)
            }
        case .weak, .common:
            if case .variable(let index)? = shared[variable.name] {
                if variable.size > variables[index].variable.size { variables[index].variable.count = variable.count }
                return
            }
            shared[variable.name] = symbol
        case .visible:
            guard shared.updateValue(symbol, forKey: variable.name) == nil else {
                throw .invalid("'\(variable.name)' is defined twice", line: variable.line)
            }
        }
        variables.append(LinkedVariable(variable: variable, module: module))
    }

    private mutating func addAliases(of module: Module, _ index: Int) {
        for (alias, name) in module.aliases {
            guard let symbol = symbol(name, in: index) else { continue }
            if shared[alias] == nil { shared[alias] = symbol }
        }
    }

    private func checkNames(of linked: LinkedFunction) throws(PTXError) {
        for meaning in linked.function.names {
            guard case .module(let name) = meaning, symbol(name, in: linked.module) == nil else { continue }
            let line = linked.function.line
            if modules[linked.module].functions.contains(where: { $0.name == name }) {
                throw .invalid("unresolved extern function '\(name)'", line: line)
            }
            if modules[linked.module].variables.contains(where: { $0.name == name }) {
                throw .invalid("unresolved extern variable '\(name)'", line: line)
            }
            throw .invalid("'\(name)' is not declared (used in '\(linked.function.name)')", line: line)
        }
    }

    private func checkInitial(of linked: LinkedVariable) throws(PTXError) {
        for case .address(let name, _, _, _) in linked.variable.initial {
            guard symbol(name, in: linked.module) != nil else {
                throw .invalid("'\(name)' is not declared", line: linked.variable.line)
            }
        }
    }
}

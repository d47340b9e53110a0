// SPDX-License-Identifier: Apache-2.0

/// A function while it is being read: resolves the names of its nested blocks.
struct FunctionBuilder {
    var function: Function
    /// Entries of `.branchtargets` lists: the list's label, and the name used.
    var branchTargetUses: [(list: Int, use: Int)] = []

    private var scopes: [Scope] = [Scope(parent: nil)]
    private var currentScope = 0
    /// For each name used: where and by what spelling.
    ///
    /// Labels may be declared later than used.
    private var uses: [(name: String, scope: Int, line: Int)] = []

    init(function: Function) { self.function = function }

    mutating func open() {
        scopes.append(Scope(parent: currentScope))
        currentScope = scopes.count - 1
    }

    mutating func close() { currentScope = scopes[currentScope].parent ?? 0 }

    mutating func append(_ statement: Statement) { function.statements.append(statement) }

    mutating func declare(_ variable: Variable) throws(PTXError) -> Int {
        let index = function.variables.count
        guard scopes[currentScope].declarations.updateValue(.variable(index), forKey: variable.name) == nil else {
            throw .invalid("'\(variable.name)' is declared twice", line: variable.line)
        }
        function.variables.append(variable)
        return index
    }

    mutating func declareRegister(_ name: String, _ type: ScalarType, line: Int) throws(PTXError) {
        let index = function.registers.count
        guard scopes[currentScope].declarations.updateValue(.register(index), forKey: name) == nil else {
            throw .invalid("'\(name)' is declared twice", line: line)
        }
        function.registers.append(Register(name: name, type: type))
    }

    mutating func declareFamily(_ prefix: String, _ family: RegisterFamily) {
        scopes[currentScope].families[prefix] = family
    }

    mutating func declareLabel(_ name: String, line: Int) throws(PTXError) -> Int {
        let label = function.labelCount
        guard scopes[currentScope].labels.updateValue(label, forKey: name) == nil else {
            throw .invalid("the label '\(name)' is declared twice", line: line)
        }
        function.labelCount += 1
        return label
    }

    /// What a name means here, if it is a register or variable.
    mutating func declaration(of name: String) -> Declaration? {
        var scope: Int? = currentScope
        while let index = scope {
            if let found = scopes[index].declarations[name] { return found }
            if let family = scopes[index].family(of: name) {
                let register = function.registers.count
                function.registers.append(Register(name: name, type: family.type))
                scopes[index].declarations[name] = .register(register)
                return .register(register)
            }
            scope = scopes[index].parent
        }
        return nil
    }

    /// Notes the use of a name that is a label or belongs to the module; which one is known at the end.
    mutating func use(of name: String, line: Int) -> Int {
        uses.append((name, currentScope, line))
        return uses.count - 1
    }

    mutating func finished() throws(PTXError) -> Function {
        function.names = uses.map { use in
            if let label = label(use.name, from: use.scope) { return .label(label) }
            return .module(use.name)
        }
        for (list, use) in branchTargetUses {
            guard case .label(let label) = function.names[use] else {
                throw .invalid("'\(uses[use].name)' is not a label", line: uses[use].line)
            }
            function.branchTargets[list, default: []].append(label)
        }
        return function
    }

    private func label(_ name: String, from scope: Int) -> Int? {
        var scope: Int? = scope
        while let index = scope {
            if let label = scopes[index].labels[name] { return label }
            scope = scopes[index].parent
        }
        return nil
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What a filter may ask of a server besides its GPUs.
package struct ServerFacts: Sendable, Equatable {
    package var hostname: String
    /// The numeric addresses of its network interfaces.
    package var addresses: [String]
    package var hasRDMA: Bool
    /// The CUDA version of its driver, such as `12.4`.
    package var cudaVersion: String
    /// The NVIDIA driver's version, such as `550.54.15`; nil where it is not known.
    package var driverVersion: String?

    package init(
        hostname: String, addresses: [String], hasRDMA: Bool, cudaVersion: String, driverVersion: String?
    ) {
        self.hostname = hostname
        self.addresses = addresses
        self.hasRDMA = hasRDMA
        self.cudaVersion = cudaVersion
        self.driverVersion = driverVersion
    }
}

/// Conditions on servers and GPUs, as `--filter KEY=VALUE` gives them.
///
/// Different keys must all hold; of several values that one key may equal, one is enough.
package struct Filter: Sendable, Equatable {
    /// Why a text is no condition, in words.
    package struct Malformed: Error, Sendable, Equatable, CustomStringConvertible {
        package let description: String
    }

    package enum Key: String, Sendable, CaseIterable {
        case serverAddress = "server.addr"
        case serverHostname = "server.hostname"
        case serverHasRDMA = "server.has-rdma"
        case serverCUDAVersion = "server.cuda-version"
        case serverDriverVersion = "server.driver-version"
        case deviceID = "device.id"
        case deviceName = "device.name"
        case devicePhysicalMemory = "device.phy-memory"

        /// Whether its values are in an order.
        var isOrdered: Bool {
            switch self {
            case .serverCUDAVersion, .serverDriverVersion, .deviceID, .devicePhysicalMemory: true
            default: false
            }
        }
        var isOfDevice: Bool { rawValue.hasPrefix("device.") }
        var isNumber: Bool { self == .deviceID || self == .devicePhysicalMemory }
    }

    enum Comparison: String, Sendable {
        case atLeast = ">="
        case atMost = "<="
        case not = "!="
        case equal = "="
    }

    struct Condition: Sendable, Equatable {
        var key: Key
        var comparison: Comparison
        var value: String
    }

    private var conditions: [Condition] = []

    /// Holds everywhere.
    package init() {}

    /// Reads conditions such as `device.name=Tesla`, `server.cuda-version>=12.4`.
    package init(_ texts: [String]) throws(Malformed) {
        for text in texts { conditions.append(try Filter.condition(text)) }
    }

    private static func condition(_ text: String) throws(Malformed) -> Condition {
        guard let start = text.firstIndex(where: { "<>!=".contains($0) }) else {
            throw Malformed(description: "'\(text)' is not a condition such as device.name=Tesla")
        }
        let rest = text[start...]
        let comparisons: [Comparison] = [.atLeast, .atMost, .not, .equal]
        guard let comparison = comparisons.first(where: { rest.hasPrefix($0.rawValue) }) else {
            throw Malformed(description: "'\(text)' compares with none of =, !=, >= and <=")
        }
        guard let key = Key(rawValue: String(text[..<start])) else {
            throw Malformed(
                description: "'\(text[..<start])' is no key; keys are "
                    + Key.allCases.map(\.rawValue).joined(separator: ", "))
        }
        let value = String(rest.dropFirst(comparison.rawValue.count))
        guard !value.isEmpty, value.utf8.count <= valueBytesMax else {
            throw Malformed(description: "'\(text)' has no value")
        }
        if comparison == .atLeast || comparison == .atMost, !key.isOrdered {
            throw Malformed(description: "'\(text)': \(key.rawValue) has no order; compare with = or !=")
        }
        if key.isNumber, Int(value) == nil {
            throw Malformed(description: "'\(text)': \(key.rawValue) is a number")
        }
        if key == .serverHasRDMA, value != "true", value != "false" {
            throw Malformed(description: "'\(text)': \(key.rawValue) is true or false")
        }
        return Condition(key: key, comparison: comparison, value: value)
    }

    private static let valueBytesMax = 1024

    /// Whether a server fulfils what is asked of servers.
    package func holds(for server: ServerFacts) -> Bool {
        holds { condition in
            switch condition.key {
            case .serverAddress: server.addresses.contains(condition.value)
            case .serverHostname: server.hostname == condition.value
            case .serverHasRDMA: String(server.hasRDMA) == condition.value
            case .serverCUDAVersion: Filter.compare(version: server.cudaVersion, condition)
            case .serverDriverVersion: server.driverVersion.map { Filter.compare(version: $0, condition) } ?? false
            default: nil
            }
        }
    }

    /// Whether a GPU fulfils what is asked of GPUs.
    package func holds(for gpu: GPU) -> Bool {
        holds { condition in
            switch condition.key {
            case .deviceID: Filter.compare(number: gpu.index, condition)
            case .deviceName: gpu.name.contains(condition.value)
            case .devicePhysicalMemory: Filter.compare(number: gpu.totalMiB, condition)
            default: nil
            }
        }
    }

    /// Whether every key is content; `isMet` answers for `=` where there is no order, nil for keys of another thing.
    private func holds(_ isMet: (Condition) -> Bool?) -> Bool {
        var alternatives: [Key: Bool] = [:]
        for condition in conditions {
            guard let found = isMet(condition) else { continue }
            switch condition.comparison {
            case .equal: alternatives[condition.key] = alternatives[condition.key] ?? false || found
            // Ordered keys have compared already.
            case .not where condition.key.isOrdered: if !found { return false }
            case .not: if found { return false }
            case .atLeast, .atMost: if !found { return false }
            }
        }
        return alternatives.values.allSatisfy { $0 }
    }

    private static func compare(number: Int, _ condition: Condition) -> Bool {
        compare([number], [Int(condition.value) ?? 0], condition.comparison)
    }

    /// Compares part by part: 9.2 is before 10.1, and 12.4 equals 12.4.0.
    private static func compare(version: String, _ condition: Condition) -> Bool {
        let parts = { (text: String) in text.split(separator: ".").map { Int($0) ?? 0 } }
        return compare(parts(version), parts(condition.value), condition.comparison)
    }

    private static func compare(_ left: [Int], _ right: [Int], _ comparison: Comparison) -> Bool {
        let count = max(left.count, right.count)
        let padded = { (parts: [Int]) in parts + [Int](repeating: 0, count: count - parts.count) }
        let (left, right) = (padded(left), padded(right))
        switch comparison {
        case .equal: return left == right
        case .not: return left != right
        case .atLeast: return !left.lexicographicallyPrecedes(right)
        case .atMost: return !right.lexicographicallyPrecedes(left)
        }
    }

    package var description: String {
        conditions.map { $0.key.rawValue + $0.comparison.rawValue + $0.value }.joined(separator: ", ")
    }
}

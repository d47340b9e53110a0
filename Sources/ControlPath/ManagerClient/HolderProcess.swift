// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import Pool

/// The process that keeps an allocation's connection, told from any later one with the same number.
package struct HolderProcess: Sendable, Codable, Equatable {
    package enum State: Sendable {
        case alive
        case gone
        /// It is another machine's, or another container's: from here nobody can tell.
        case elsewhere
    }

    package let pid: Int32
    /// When it was started, in clock ticks since the machine was.
    let startedTicks: UInt64
    let hostname: String
    /// A machine has another one after each start.
    let bootID: String
    /// In which world its number counts.
    let namespace: String

    enum CodingKeys: String, CodingKey {
        case pid, hostname, namespace
        case startedTicks = "started_ticks"
        case bootID = "boot_id"
    }

    /// A process of this machine; nil when there is none with this number.
    package init?(pid: Int32) {
        guard let ticks = HolderProcess.startedTicks(of: pid) else { return nil }
        self.pid = pid
        startedTicks = ticks
        hostname = Pool.hostname()
        bootID = HolderProcess.thisBoot
        namespace = HolderProcess.thisNamespace
    }

    package var state: State {
        guard hostname == Pool.hostname() else { return .elsewhere }
        guard bootID == HolderProcess.thisBoot else { return .gone }
        guard namespace == HolderProcess.thisNamespace else { return .elsewhere }
        return HolderProcess.startedTicks(of: pid) == startedTicks ? .alive : .gone
    }

    private static var thisBoot: String { text("/proc/sys/kernel/random/boot_id") ?? "" }

    private static var thisNamespace: String {
        var target = [CChar](repeating: 0, count: 64)
        let count = readlink("/proc/self/ns/pid", &target, target.count)
        return String(decoding: target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Field 22 of the process's `stat`; nil for one that has ended, also when nobody has waited for it.
    private static func startedTicks(of pid: Int32) -> UInt64? {
        // The name in parentheses may contain anything; what follows the last one is fixed.
        guard pid > 0, let text = text("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[end...].split(separator: " ").dropFirst()
        guard fields.count > 19, fields.first != "Z", fields.first != "X" else { return nil }
        return UInt64(fields[fields.startIndex + 19])
    }

    private static func text(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Pool

/// What the kernel says of GPUs that fail.
enum KernelLogChecks {
    static let all = [xid]

    // MARK: HC-13

    /// Faults that a program can cause by itself.
    static let applicationFaults: Set = [13, 31, 32, 43, 45, 68, 69, 109]
    private static let daySeconds = 86_400.0

    static let xid = HealthCheck(
        "HC-13", "xid", .stability, on: [.server], source: "lines `NVRM: Xid` of /dev/kmsg",
        threshold: "no fault in 24 h; fatal with one of the hardware or the driver since the boot",
        remedy: "look the number up in NVIDIA's list of Xid errors; drain the server and reset the GPU", judge: judgeXid
    )

    @Sendable private static func judgeXid(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        guard !sources.isSoftware else { return .skipped("software GPUs report no faults to the kernel") }
        let lines = try sources.files.lines("/dev/kmsg")
        guard let uptime = Double(try sources.files.text("/proc/uptime").prefix { $0 != " " }) else {
            throw SourceFailure("/proc/uptime is not understood")
        }
        let faults = lines.compactMap(Fault.init)
        let serious = faults.filter { !applicationFaults.contains($0.number) }
        if !serious.isEmpty {
            return .fatal(listed(serious.map(\.words)), value: "\(serious.count)")
        }
        let recent = faults.filter { uptime - $0.seconds < daySeconds }
        guard recent.isEmpty else {
            return .marginal(
                "caused by programs: \(listed(recent.map(\.words)))", value: "\(recent.count)",
                remedy: "look for the mistake in the program")
        }
        return .pass("no fault in the kernel's log", value: "0")
    }

    /// A line of the log.
    ///
    /// Such as `4,1301,93213881,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.`
    struct Fault {
        let number: Int
        /// Since the boot.
        let seconds: Double
        let words: String

        init?(_ line: Substring) {
            guard let semicolon = line.firstIndex(of: ";") else { return nil }
            let head = line[..<semicolon].split(separator: ",")
            let message = line[line.index(after: semicolon)...]
            let mark = "NVRM: Xid (PCI:"
            guard head.count >= 3, let microseconds = Double(head[2]), message.hasPrefix(mark),
                let close = message.firstIndex(of: ")")
            else { return nil }
            let rest = message[message.index(after: close)...].drop { $0 == ":" || $0 == " " }
            guard let number = Int(rest.prefix { $0.isNumber }) else { return nil }
            self.number = number
            seconds = microseconds / 1_000_000
            words = "Xid \(number) of \(message.dropFirst(mark.count).prefix { $0 != ")" })"
        }
    }
}

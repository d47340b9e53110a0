// SPDX-License-Identifier: Apache-2.0
import Pool

/// Whether the product may open as many files as it needs, and write what it must.
enum LimitChecks {
    static let all = [openFiles, diskSpace]

    // MARK: HC-22

    /// What `bitfusion-limits.conf` gives.
    static let openFilesWanted = 100_000
    static let openFilesMin = 4_096

    static let openFiles = HealthCheck(
        "HC-22", "ulimit_n", .performance, source: "/proc/PID/limits of the daemon, or of this command",
        threshold: ">= 100000 open files; fatal below 4096",
        remedy:
            "copy share/bitfusion/bitfusion-limits.conf to /etc/security/limits.d and log in again as a member of the "
            + "group bitfusion; in a service, LimitNOFILE=100000",
        judge: judgeOpenFiles)

    @Sendable private static func judgeOpenFiles(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        let path = "/proc/\(sources.daemon.map(String.init) ?? "self")/limits"
        let name = "Max open files"
        guard let line = try sources.files.lines(path).first(where: { $0.hasPrefix(name) }) else {
            throw SourceFailure("\(path) tells nothing of open files")
        }
        let words = line.dropFirst(name.count).split(separator: " ")
        guard words.count >= 2, let soft = limit(words[0]), let hard = limit(words[1]) else {
            throw SourceFailure("\(path): '\(line)' is not understood")
        }
        // The daemon and the launcher raise the soft limit themselves, as far as the hard one lets them.
        let value = hard == Int.max ? "unlimited" : "\(hard)"
        let who = sources.daemon == nil ? "this user" : "the daemon"
        let detail = "\(who) may open \(value) files" + (soft < hard ? ", \(soft) before the limit is raised" : "")
        if hard < openFilesMin { return .fatal(detail, value: value) }
        return hard < openFilesWanted ? .marginal(detail, value: value) : .pass(detail, value: value)
    }

    private static func limit(_ word: Substring) -> Int? { word == "unlimited" ? Int.max : Int(word) }

    // MARK: HC-23

    static let freeBytesWanted = 10 * gibibyte
    static let freeBytesMin = 2 * gibibyte
    static let freePercentWanted: UInt64 = 20
    static let freePercentMin: UInt64 = 5

    static let diskSpace = HealthCheck(
        "HC-23", "diskspace", .systemResources, source: "statvfs of the data folder (server), the cache (client), /tmp",
        threshold: ">= 20 % and >= 10 GiB free, >= 20 % of the inodes; fatal below 5 % or 2 GiB",
        remedy: "remove what is not needed, or enlarge the file system", judge: judgeDiskSpace)

    @Sendable private static func judgeDiskSpace(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        .of(
            sources.folders.map { folder in
                Finding.attempt { () throws(SourceFailure) in
                    judge(try sources.fileSystems.space(at: folder.path))
                }.about("\(folder.purpose) \(folder.path)")
            })
    }

    private static func judge(_ space: FileSystemSpace) -> Finding {
        guard space.totalBytes > 0 else { return .skipped("it has no size of its own") }
        let percentFree = space.freeBytes * 100 / space.totalBytes
        let nodesFree = space.totalNodes == 0 ? 100 : space.freeNodes * 100 / space.totalNodes
        let value = "\(gibibytes(space.freeBytes)), \(percentFree) %"
        var detail = "\(gibibytes(space.freeBytes)) of \(gibibytes(space.totalBytes)) are free"
        if nodesFree < freePercentWanted { detail += ", \(nodesFree) % of the inodes" }
        let worst = min(percentFree, nodesFree)
        if space.freeBytes < freeBytesMin || worst < freePercentMin { return .fatal(detail, value: value) }
        if space.freeBytes < freeBytesWanted || worst < freePercentWanted { return .marginal(detail, value: value) }
        return .pass(detail, value: value)
    }
}

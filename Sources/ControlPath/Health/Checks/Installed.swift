// SPDX-License-Identifier: Apache-2.0
import Pool

/// HC-24: whether the product is here as it was installed, configured, and running.
enum InstallationChecks {
    static let all = [installation]

    static let installation = HealthCheck(
        "HC-24", "install", .systemResources,
        source:
            "share/bitfusion/manifest.d, /etc/group; the configuration; the daemon (server), "
            + "the servers' releases (client)",
        threshold:
            "all files as installed, the group bitfusion exists, one release everywhere; fatal when a file is missing, "
            + "the configuration is wrong, or a server's daemon does not run",
        remedy: "install Bitfusion again", judge: judgeInstallation)

    @Sendable private static func judgeInstallation(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        var parts = [Finding.attempt { () throws(SourceFailure) in try judgeFiles(sources) }]
        if let problem = sources.installation.configurationProblem {
            parts.append(.fatal(problem, remedy: "correct the file"))
        }
        parts.append(
            Finding.attempt { () throws(SourceFailure) in
                try sources.files.lines("/etc/group").contains { $0.hasPrefix("bitfusion:") }
                    ? .pass("the group exists")
                    : .marginal("the group bitfusion does not exist", remedy: "groupadd -r bitfusion")
            })
        switch sources.role {
        case .server:
            if sources.daemon == nil {
                parts.append(.fatal("the daemon does not run", remedy: "start bitfusion manager"))
            }
        case .client:
            for (address, answer) in (try? sources.answers()) ?? [] {
                guard let release = answer.release, release != ProductVersion.number else { continue }
                parts.append(
                    .marginal("server \(address) has version \(release), this client \(ProductVersion.number)"))
            }
        }
        var finding = Finding.of(parts)
        finding.value = ProductVersion.number
        return finding
    }

    private static func judgeFiles(_ sources: HealthSources) throws(SourceFailure) -> Finding {
        // One for each part of the product that is installed.
        let folder = sources.installation.manifests
        var lines: [Substring] = []
        for name in try sources.files.names(in: folder).sorted() {
            lines += try sources.files.lines("\(folder)/\(name)")
        }
        var missing: [String] = []
        var changed: [String] = []
        for line in lines {
            let words = line.split(separator: " ", maxSplits: 2)
            guard words.count == 3, let mode = UInt32(words[0], radix: 8), let byteCount = Int(words[1]) else {
                throw SourceFailure("\(folder): '\(line)' is not understood")
            }
            let path = String(words[2])
            guard let found = try? sources.files.attributes(of: "\(sources.installation.prefix)/\(path)") else {
                missing.append(path)
                continue
            }
            if found.mode != mode || found.byteCount != byteCount { changed.append(path) }
        }
        guard !lines.isEmpty else { throw SourceFailure("\(folder) is empty") }
        if !missing.isEmpty { return .fatal("missing: \(listed(missing))") }
        if !changed.isEmpty { return .marginal("not as installed: \(listed(changed))") }
        return .pass("\(lines.count) files are as installed")
    }
}

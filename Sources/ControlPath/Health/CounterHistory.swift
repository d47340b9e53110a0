// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import Pool
import Synchronization

/// Remembers counters between runs, so that a check can tell whether they grow.
package protocol CounterHistory: Sendable {
    /// What a group of counters was when it was last exchanged, and keeps what it is now.
    ///
    /// Nil the first time.
    func exchange(_ counters: [String: UInt64], of group: String) throws(SourceFailure) -> [String: UInt64]?
}

extension CounterHistory {
    /// How much each counter has grown; nil the first time, and when the counters have begun anew, as at a boot.
    func growth(_ counters: [String: UInt64], of group: String) throws(SourceFailure) -> [String: UInt64]? {
        guard let before = try exchange(counters, of: group) else { return nil }
        var growth: [String: UInt64] = [:]
        for (name, value) in counters {
            guard let old = before[name] else { continue }
            guard value >= old else { return nil }
            growth[name] = value - old
        }
        return growth
    }
}

/// Counters in a file of the first folder that can be written; a server's data folder, a user's cache.
package final class CounterFile: CounterHistory {
    private static let fileName = "health-counters.json"
    private static let bytesMax = 1 << 20

    private let folders: [String]
    /// One at a time reads and replaces the file.
    private let lock = Mutex(())

    package init(folders: [String]) { self.folders = folders }

    package func exchange(
        _ counters: [String: UInt64], of group: String
    ) throws(SourceFailure) -> [String: UInt64]? {
        try lock.withLock { _ throws(SourceFailure) in
            var reasons: [String] = []
            for folder in folders {
                let path = "\(folder)/\(CounterFile.fileName)"
                var groups = read(path)
                let before = groups[group]
                groups[group] = counters
                guard let reason = write(groups, to: path, in: folder) else { return before }
                reasons.append(reason)
            }
            throw SourceFailure("counters cannot be kept: " + reasons.joined(separator: "; "))
        }
    }

    /// A file that is not ours to understand is as none.
    private func read(_ path: String) -> [String: [String: UInt64]] {
        guard let bytes = try? SystemFiles().bytes(path), bytes.count <= CounterFile.bytesMax else { return [:] }
        return (try? JSONDecoder().decode([String: [String: UInt64]].self, from: Data(bytes))) ?? [:]
    }

    /// Replaces the file in one step; says what went wrong.
    private func write(_ groups: [String: [String: UInt64]], to path: String, in folder: String) -> String? {
        guard makeFolder(folder) else { return "\(folder): \(errorText(errno))" }
        guard let data = try? JSONEncoder().encode(groups) else { return "\(path): it cannot be encoded" }
        let new = "\(path).\(getpid())"
        // Nobody else's file is written through: the name must be new.
        unlink(new)
        let descriptor = open(new, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return "\(new): \(errorText(errno))" }
        let bytes = Array(data)
        let count = Glibc.write(descriptor, bytes, bytes.count)
        let code = count < 0 ? errno : ENOSPC
        close(descriptor)
        guard count == bytes.count, rename(new, path) == 0 else {
            let reason = errorText(count == bytes.count ? errno : code)
            unlink(new)
            return "\(path): \(reason)"
        }
        return nil
    }

    private func makeFolder(_ folder: String) -> Bool {
        var path = ""
        for part in folder.split(separator: "/", omittingEmptySubsequences: false) {
            path += part.isEmpty ? "/" : "\(part)/"
            if mkdir(path, 0o700) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES { return false }
        }
        guard access(folder, W_OK | X_OK) == 0 else { return false }
        // In a folder that others may change, the file could be anything.
        var state = stat()
        guard lstat(folder, &state) == 0, state.st_uid == geteuid(), state.st_mode & 0o022 == 0 else {
            errno = EPERM
            return false
        }
        return true
    }
}

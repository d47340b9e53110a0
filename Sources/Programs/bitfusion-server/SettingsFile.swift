// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import Manager
import Pool

/// The settings of a server without a cluster: a file in its data folder.
struct SettingsFile {
    let path: String

    private static let bytesMax = 1 << 20

    /// Reads it; the defaults when there is none.
    ///
    /// Exit status 78 when it is wrong.
    func read() throws(ExitCode) -> PoolSettings {
        do {
            return try load()
        } catch {
            writeError("bitfusion: \(error)\n")
            throw ExitCode(78)
        }
    }

    /// What is wrong with it; nil when it can be used.
    var problem: String? {
        do throws(PoolSettings.Malformed) {
            _ = try load()
            return nil
        } catch { return "\(error)" }
    }

    fileprivate func load() throws(PoolSettings.Malformed) -> PoolSettings {
        guard access(path, F_OK) == 0 else { return PoolSettings() }
        guard let bytes = try? Data(contentsOf: URL(filePath: path)) else {
            throw PoolSettings.Malformed(description: "cannot read \(path): \(String(cString: strerror(errno)))")
        }
        guard bytes.count <= SettingsFile.bytesMax else {
            throw PoolSettings.Malformed(description: "\(path) is larger than \(SettingsFile.bytesMax) bytes")
        }
        do throws(PoolSettings.Malformed) { return try PoolSettings(json: Array(bytes)) } catch {
            throw PoolSettings.Malformed(description: "\(path): \(error)")
        }
    }
}

extension ResourceScheduler {
    /// Applies the file as it is now and returns what it says; one that is wrong changes nothing.
    func apply(_ file: SettingsFile) -> PoolSettings? {
        defer { fflush(nil) }
        do {
            let settings = try file.load()
            apply(settings)
            print("Settings read again.")
            return settings
        } catch {
            writeError("bitfusion: the settings stay as they are: \(error)\n")
            return nil
        }
    }
}

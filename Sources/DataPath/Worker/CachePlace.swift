// SPDX-License-Identifier: Apache-2.0
import ModuleCache

/// A folder for a ``ModuleCache``, and how much it may hold.
package struct CachePlace: Sendable, Codable, Equatable {
    package var folder: String
    package var mebibytes: Int

    package init(folder: String, mebibytes: Int) {
        self.folder = folder
        self.mebibytes = mebibytes
    }

    /// Why nothing can be kept there; nil when it can.
    package var problem: String? {
        do throws(CacheFailure) {
            try open { _ in }.checkWriting()
            return nil
        } catch { return error.description }
    }

    func open(report: @escaping (String) -> Void) throws(CacheFailure) -> ModuleCache {
        try ModuleCache(path: folder, bytesMax: mebibytes << 20, report: report)
    }
}

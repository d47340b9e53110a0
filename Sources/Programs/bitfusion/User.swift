// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc

/// Who runs this program.
enum User {
    /// The user's own folder: what `HOME` says, or the system's list of users where it is not set, as under some
    /// schedulers.
    static var home: String? {
        if let home = ProcessInfo.processInfo.environment["HOME"], !home.isEmpty { return home }
        return entry(\passwd.pw_dir)
    }

    /// The user's name.
    static var name: String { entry(\passwd.pw_name) ?? "user \(getuid())" }

    private static func entry(_ field: KeyPath<passwd, UnsafeMutablePointer<CChar>?>) -> String? {
        var record = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var room = [CChar](repeating: 0, count: 16 << 10)
        let capacity = room.count
        return room.withUnsafeMutableBufferPointer { buffer in
            // SAFETY: the record points into `room`, and is read before that goes.
            guard let base = buffer.baseAddress, getpwuid_r(getuid(), &record, base, capacity, &found) == 0, let found
            else {
                return nil
            }
            return found.pointee[keyPath: field].map { String(cString: $0) }
        }
    }
}

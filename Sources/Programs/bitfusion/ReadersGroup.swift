// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The group whose members may read a file that this user may not.
///
/// The packages give /etc/bitfusion to a group: the pool is for its members.
struct ReadersGroup {
    let name: String
    /// Whether the user has joined it, only not before logging in.
    let hasJoined: Bool

    /// Nil when no group is let in, or when this process is in it and something else is in the way.
    init?(of path: String) {
        guard let entrance = ReadersGroup.entrance(to: path) else { return nil }
        let isFolder = entrance.st_mode & S_IFMT == S_IFDIR
        guard entrance.st_mode & (isFolder ? S_IXGRP : S_IRGRP) != 0,
            !ReadersGroup.ofProcess.contains(entrance.st_gid),
            let record = ReadersGroup.record(entrance.st_gid)
        else { return nil }
        name = record.name
        hasJoined = record.members.contains(User.name)
    }

    /// What is not allowed and who can change that, in one line.
    func refusal(of path: String) -> String {
        let help =
            hasJoined
            ? ", which '\(User.name)' has joined since this login: log in again, or run 'newgrp \(name)'"
            : "; an administrator adds you with 'usermod -aG \(name) \(User.name)', which holds from your next login"
        return "\(path) is for members of the group '\(name)' only" + help
    }

    /// The file, or the innermost folder on the way to it of which something can be told.
    private static func entrance(to path: String) -> stat? {
        var part = path
        var status = stat()
        while stat(part, &status) != 0 {
            guard errno == EACCES, let slash = part.lastIndex(of: "/"), slash != part.startIndex else { return nil }
            part = String(part[..<slash])
        }
        return status
    }

    private static var ofProcess: [gid_t] {
        let count = getgroups(0, nil)
        guard count > 0 else { return [getegid()] }
        var groups = [gid_t](repeating: 0, count: Int(count))
        let filled = getgroups(count, &groups)
        return [getegid()] + groups.prefix(Int(max(0, filled)))
    }

    /// What the system's list of groups says of a number; nil when it is not listed.
    private static func record(_ number: gid_t) -> (name: String, members: [String])? {
        // SAFETY: the record is the C library's until its next call for a group; this program asks from one thread.
        guard let found = getgrgid(number), let name = found.pointee.gr_name else { return nil }
        var members: [String] = []
        var next = found.pointee.gr_mem
        while let member = next?.pointee {
            members.append(String(cString: member))
            next = next?.successor()
        }
        return (String(cString: name), members)
    }
}

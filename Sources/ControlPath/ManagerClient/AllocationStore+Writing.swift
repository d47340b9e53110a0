// SPDX-License-Identifier: Apache-2.0
import Glibc
import Pool

/// Writing: whole or not at all, and for nobody else.
extension AllocationStore {
    /// Writes the description of a new allocation into the first folder that takes it.
    package func save(_ record: AllocationRecord) throws(Failure) -> Entry {
        var reasons: [String] = []
        for place in places {
            do throws(Failure) {
                try makeFolder(place)
                let path = "\(place.folder)/\(record.id).json"
                try write(record, to: path, in: place.folder)
                return Entry(path: path, record: record)
            } catch {
                if case .unusable(let reason) = error { reasons.append(reason) }
            }
        }
        throw .unusable("the allocation cannot be described anywhere: " + reasons.joined(separator: "; "))
    }

    /// Leaves word why an allocation has ended, if its file is still there; the ticket goes.
    package func end(_ entry: Entry, because reason: String) {
        guard access(entry.path, F_OK) == 0, let end = entry.path.lastIndex(of: "/") else { return }
        var record = entry.record
        record.ticket = ""
        record.ended = reason
        try? write(record, to: entry.path, in: String(entry.path[..<end]))
    }

    package func remove(_ entry: Entry) { unlink(entry.path) }

    /// Whether a folder is the user's and nobody else's.
    func isPrivate(_ folder: String) -> Bool {
        var state = stat()
        return lstat(folder, &state) == 0 && state.st_mode & S_IFMT == S_IFDIR && state.st_uid == geteuid()
            && state.st_mode & 0o077 == 0
    }

    private func makeFolder(_ place: Place) throws(Failure) {
        for path in [place.base, place.folder] {
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
                throw .unusable("cannot make \(path): \(errorText(errno))")
            }
        }
        // What lies in a folder that others can write to may be anybody's.
        guard place.isInPrivateFolder || isPrivate(place.base) else {
            throw .unusable("\(place.base) is not a folder of this user alone")
        }
        var state = stat()
        if lstat(place.folder, &state) == 0, state.st_uid == geteuid(), state.st_mode & S_IFMT == S_IFDIR {
            chmod(place.folder, 0o700)
        }
        guard isPrivate(place.folder) else { throw .unusable("\(place.folder) is not a folder of this user alone") }
    }

    private func write(_ record: AllocationRecord, to path: String, in folder: String) throws(Failure) {
        guard let bytes = try? record.json else { throw .unusable("the allocation has no description") }
        let temporary = "\(folder)/.\(record.id).\(getpid())"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .unusable("cannot write in \(folder): \(errorText(errno))") }
        var isWritten = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) } == bytes.count
        isWritten = fsync(descriptor) == 0 && isWritten
        let code = isWritten ? 0 : errno
        close(descriptor)
        guard isWritten, rename(temporary, path) == 0 else {
            let reason = errorText(code == 0 ? errno : code)
            unlink(temporary)
            throw .unusable("cannot write \(path): \(reason)")
        }
    }
}

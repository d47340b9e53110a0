// SPDX-License-Identifier: Apache-2.0
import Glibc
import Pool

/// The files that describe a user's allocations.
///
/// They lie in the first folder that can be written: the user's own, otherwise one of the running session, otherwise
/// one in /tmp. Nothing is believed of a file or folder that another user could have made.
package struct AllocationStore: Sendable {
    package enum Failure: Error, Sendable, Equatable {
        /// There is no allocation; the text says what was looked for.
        case none(String)
        /// There was one, and this is how it ended.
        case ended(String)
        /// A file or folder cannot be used, in words that name it.
        case unusable(String)
    }

    package struct Entry: Sendable, Equatable {
        package let path: String
        package let record: AllocationRecord
    }

    /// Larger than any description.
    static let fileBytesMax = 64 << 10
    /// More than one user has.
    static let filesMax = 10_000

    /// A folder for the files, and the folder of ours above it, which must be checked as well.
    struct Place: Sendable {
        let base: String
        var folder: String { base + "/allocations" }
        /// Whether only the user can write above it, so that a link there is the user's own.
        let isInPrivateFolder: Bool
    }

    let places: [Place]

    package init(home: String?, runtimeFolder: String?, temporaryFolder: String = "/tmp") {
        var places: [Place] = []
        if let home { places.append(Place(base: home + "/.bitfusion", isInPrivateFolder: true)) }
        if let runtimeFolder, !runtimeFolder.isEmpty {
            places.append(Place(base: runtimeFolder + "/bitfusion", isInPrivateFolder: true))
        }
        places.append(Place(base: "\(temporaryFolder)/bitfusion-\(geteuid())", isInPrivateFolder: false))
        self.places = places
    }

    // MARK: Finding

    /// The allocation that a command works in: the one that `name` names, a path or an ID, otherwise the newest.
    ///
    /// Removes the files of allocations that have ended.
    package func find(_ name: String?) throws(Failure) -> Entry {
        if let name, !name.isEmpty {
            let path = name.contains("/") ? name : try path(ofID: name)
            let entry = Entry(path: path, record: try AllocationStore.read(path))
            guard let reason = entry.record.endReason else { return entry }
            remove(entry)
            throw .ended(reason)
        }
        var reason: String?
        for entry in entries().sorted(by: { $0.record.createdMilliseconds > $1.record.createdMilliseconds }) {
            guard let end = entry.record.endReason else { return entry }
            remove(entry)
            reason = reason ?? end
        }
        if let reason { throw .ended(reason) }
        throw .none("there is no allocation")
    }

    private func path(ofID id: String) throws(Failure) -> String {
        guard AllocationRecord.isID(id) else {
            throw .unusable("'\(id)' is neither a path nor the ID of an allocation")
        }
        for place in places where access("\(place.folder)/\(id).json", F_OK) == 0 {
            return "\(place.folder)/\(id).json"
        }
        throw .none("there is no allocation \(id)")
    }

    /// All allocations whose files can be used.
    package func entries() -> [Entry] {
        places.flatMap { place -> [Entry] in
            guard isPrivate(place.folder) else { return [] }
            return AllocationStore.names(in: place.folder).compactMap { name in
                let path = "\(place.folder)/\(name)"
                return (try? AllocationStore.read(path)).map { Entry(path: path, record: $0) }
            }
        }
    }

    private static func names(in folder: String) -> [String] {
        guard let handle = opendir(folder) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle), names.count < filesMax {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name.hasSuffix(".json"), AllocationRecord.isID(String(name.dropLast(5))) { names.append(name) }
        }
        return names
    }

    /// Reads a file, if nobody but its user can have written or read it.
    package static func read(_ path: String) throws(Failure) -> AllocationRecord {
        // Without O_NONBLOCK, opening a pipe would wait for its other end.
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else {
            let code = errno
            if code == ENOENT { throw .none("there is no allocation \(path)") }
            throw .unusable("cannot read \(path): \(code == ELOOP ? "it is a link" : errorText(code))")
        }
        defer { close(descriptor) }
        var state = stat()
        guard fstat(descriptor, &state) == 0, state.st_mode & S_IFMT == S_IFREG else {
            throw .unusable("\(path) is not a file")
        }
        guard state.st_uid == geteuid() else {
            throw .unusable("\(path) belongs to another user (\(state.st_uid)), so it is not used")
        }
        guard state.st_mode & 0o077 == 0 else {
            throw .unusable("others can read or write \(path), so it is not used; chmod 600 makes it private")
        }
        guard state.st_size <= fileBytesMax else { throw .unusable("\(path) is longer than \(fileBytesMax) bytes") }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count <= fileBytesMax {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .unusable("cannot read \(path): \(errorText(errno))") }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        do throws(Failure) {
            return try AllocationRecord(json: bytes)
        } catch {
            guard case .unusable(let reason) = error else { throw error }
            throw .unusable("\(path) cannot be used: \(reason)")
        }
    }
}

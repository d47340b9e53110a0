// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The folder of a ``ModuleCache``: its files by name, and the lock that its users share.
final class CacheFolder {
    struct Entry {
        let name: String
        let byteCount: Int
        /// Nanoseconds since 1970.
        let lastUse: Int64

        /// Being written by a worker, whose number is the beginning of its name.
        var isTemporary: Bool { name.hasSuffix(CacheFolder.temporarySuffix) }

        /// Of a worker that has ended.
        var isAbandoned: Bool {
            guard isTemporary else { return false }
            guard let writer = pid_t(name.prefix { $0 != "-" }), writer > 0 else { return true }
            return kill(writer, 0) != 0 && errno == ESRCH
        }
    }

    private static let temporarySuffix = ".part"
    private static let lockName = "lock"

    let path: String
    private let descriptor: Int32

    init(path: String) throws(CacheFailure) {
        if mkdir(path, 0o700) != 0 && errno != EEXIST {
            throw CacheFailure("cannot make \(path): \(errorText())")
        }
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw CacheFailure("cannot open \(path): \(errorText())") }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            close(descriptor)
            throw CacheFailure(
                "\(path) is another user's, or others may enter it; it must be this user's with mode 0700")
        }
        // Last: an object that is complete would close the descriptor itself.
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Opens a file of this user's; nil when there is none, or it cannot be opened.
    ///
    /// One to write is made, and must not be there.
    func open(_ name: String, forWriting isNew: Bool) -> CacheFile? {
        let flags = isNew ? O_RDWR | O_CREAT | O_EXCL : O_RDONLY
        let file = openat(descriptor, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode_t(0o600))
        guard file >= 0 else { return nil }
        return CacheFile(adopting: file)
    }

    func remove(_ name: String) { unlinkat(descriptor, name, 0) }

    func rename(_ name: String, to target: String) throws(CacheFailure) {
        guard renameat(descriptor, name, descriptor, target) == 0 else {
            throw CacheFailure("cannot rename a file in \(path): \(errorText())")
        }
    }

    /// Calls `body` while no other worker does.
    func withLock<Result: ~Copyable>(
        _ body: () throws(CacheFailure) -> Result
    ) throws(CacheFailure) -> Result {
        let lock = openat(descriptor, Self.lockName, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mode_t(0o600))
        guard lock >= 0 else { throw CacheFailure("cannot make a file in \(path): \(errorText())") }
        defer { close(lock) }
        while flock(lock, LOCK_EX) != 0 {
            guard errno == EINTR else { throw CacheFailure("cannot lock \(path): \(errorText())") }
        }
        return try body()
    }

    /// All files but the lock.
    func files() -> [Entry] {
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { return [] }
        guard let stream = fdopendir(copy) else {
            close(copy)
            return []
        }
        defer { closedir(stream) }
        var entries: [Entry] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            var status = stat()
            guard name != Self.lockName, fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0,
                status.st_mode & S_IFMT == S_IFREG
            else { continue }
            entries.append(
                Entry(
                    name: name, byteCount: Int(status.st_size),
                    lastUse: Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)))
        }
        return entries
    }

    /// A name that no other worker, and no other thread of this one, uses.
    static func temporaryName() -> String {
        var random = SystemRandomNumberGenerator()
        return "\(getpid())-\(String(random.next(), radix: 16))\(temporarySuffix)"
    }
}

/// An open file of the cache.
struct CacheFile: ~Copyable {
    private let descriptor: Int32
    let byteCount: Int

    /// nil, and closed, when it is no plain file of this user.
    init?(adopting descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid() else {
            close(descriptor)
            return nil
        }
        self.descriptor = descriptor
        byteCount = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// Says that it was used now.
    func touch() { futimens(descriptor, nil) }

    /// Takes the room that it will need.
    func reserve(_ count: Int) throws(CacheFailure) {
        let code = posix_fallocate(descriptor, 0, off_t(count))
        guard code == 0 else {
            throw CacheFailure("no room for \(count) bytes on its disk: \(String(cString: strerror(code)))")
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(CacheFailure) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw CacheFailure("cannot write to its disk: \(errorText())") }
            done += count
        }
    }

    /// Fills the buffer from the beginning; false when there is less, or it cannot be read.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(done))
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }
}

// SPDX-License-Identifier: Apache-2.0
package import Content
import Glibc

/// Images of modules that clients have sent, kept on the server's disk so that the next client need not send them.
///
/// One file an image, named by the SHA-256 of its content, in a folder that only this user may enter. Many workers use
/// the folder at once and know nothing of each other: files come to be by renaming, are never changed, and are checked
/// against their name whenever they are read. What goes wrong costs the time of sending an image, and nothing else.
package final class ModuleCache {
    /// The bytes of all files together.
    package let bytesMax: Int
    /// More files would make it slow to look for the oldest.
    package static let filesMax = 4096

    let folder: CacheFolder
    private let report: (String) -> Void
    private var hasReported = false

    /// Opens the folder, which is made when it is missing.
    ///
    /// Throws when it cannot be used, or others could change what is in it. `report` is told, once, when something
    /// cannot be kept.
    package init(
        path: String, bytesMax: Int, report: @escaping (String) -> Void
    ) throws(CacheFailure) {
        guard ContentHasher.isAvailable else {
            throw CacheFailure("libcrypto.so.3, which names images by their content, is not on this machine")
        }
        folder = try CacheFolder(path: path)
        self.bytesMax = bytesMax
        self.report = report
    }

    /// Throws when no file can be made in the folder.
    package func checkWriting() throws(CacheFailure) {
        let name = CacheFolder.temporaryName()
        guard folder.open(name, forWriting: true) != nil else {
            throw CacheFailure("cannot make a file in \(folder.path): \(errorText())")
        }
        folder.remove(name)
    }

    /// An image of this content and size; nil when it is not there.
    ///
    /// A file with another content than its name says is removed.
    package func image(_ hash: ContentHash, byteCount: Int) -> CachedImage? {
        guard let file = folder.open(hash.hexadecimal, forWriting: false) else { return nil }
        guard file.byteCount == byteCount, let image = CachedImage(file, byteCount: byteCount),
            ContentHash(of: UnsafeRawBufferPointer(image.bytes)) == hash
        else {
            folder.remove(hash.hexadecimal)
            return nil
        }
        // The time of the last use is the file's, by which the oldest are found.
        file.touch()
        return image
    }

    /// Keeps an image, and removes what was not used for longest where there is no room.
    package func keep(_ image: UnsafeRawBufferPointer) {
        guard image.count > 0, image.count <= bytesMax, let hash = ContentHash(of: image) else { return }
        if let known = folder.open(hash.hexadecimal, forWriting: false), known.byteCount == image.count {
            return known.touch()
        }
        let name = CacheFolder.temporaryName()
        do throws(CacheFailure) {
            guard try write(image, to: name) else { return }
            // Below the lock, so that nobody who counts the files sees it twice, or not at all.
            try folder.withLock { () throws(CacheFailure) in try folder.rename(name, to: hash.hexadecimal) }
        } catch {
            folder.remove(name)
            if !hasReported { report("the module cache keeps nothing more: \(error.description)") }
            hasReported = true
        }
    }

    /// Writes a file whose room is taken before, so that all workers together stay below the bound.
    ///
    /// False when others are writing so much that no room can be made.
    private func write(_ image: UnsafeRawBufferPointer, to name: String) throws(CacheFailure) -> Bool {
        let file = try folder.withLock { () throws(CacheFailure) -> CacheFile? in
            guard makeRoom(for: image.count) else { return nil }
            guard let file = folder.open(name, forWriting: true) else {
                throw CacheFailure("cannot make a file in \(folder.path): \(errorText())")
            }
            try file.reserve(image.count)
            return file
        }
        guard let file else { return false }
        try file.write(image)
        return true
    }

    /// Removes files until so many bytes fit: what dead workers have left, then what was not used for longest.
    ///
    /// What other workers are writing stays; false when there is no room because of that.
    private func makeRoom(for byteCount: Int) -> Bool {
        var files = folder.files()
        for file in files where file.isAbandoned { folder.remove(file.name) }
        files.removeAll { $0.isAbandoned }
        var total = files.reduce(0) { $0 + $1.byteCount }
        var count = files.count
        func isFull() -> Bool { total + byteCount > bytesMax || count >= ModuleCache.filesMax }
        for file in files.sorted(by: { $0.lastUse < $1.lastUse }) where isFull() && !file.isTemporary {
            folder.remove(file.name)
            total -= file.byteCount
            count -= 1
        }
        return !isFull()
    }
}

/// Why nothing can be kept, in words.
package struct CacheFailure: Error, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

/// An image that was read from the cache.
package final class CachedImage {
    package let bytes: UnsafeMutableRawBufferPointer

    /// Reads a file to its end; nil when it is shorter, or cannot be read.
    init?(_ file: borrowing CacheFile, byteCount: Int) {
        bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 16)
        guard file.read(into: bytes) else { return nil }
    }

    deinit { bytes.deallocate() }
}

func errorText() -> String { String(cString: strerror(errno)) }

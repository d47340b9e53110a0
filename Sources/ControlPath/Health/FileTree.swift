// SPDX-License-Identifier: Apache-2.0
import Glibc
import Pool

/// The files in which a system tells of itself: /proc, /sys, and those of the product.
package protocol FileTree: Sendable {
    /// The bytes of a file.
    func bytes(_ path: String) throws(SourceFailure) -> [UInt8]
    /// The names in a folder, sorted.
    func names(in folder: String) throws(SourceFailure) -> [String]
    /// Where a symbolic link leads.
    func target(of link: String) throws(SourceFailure) -> String
    func attributes(of path: String) throws(SourceFailure) -> FileAttributes
}

package struct FileAttributes: Sendable, Equatable {
    /// The permission bits.
    package var mode: UInt32
    package var byteCount: Int

    package init(mode: UInt32, byteCount: Int) {
        self.mode = mode
        self.byteCount = byteCount
    }
}

extension FileTree {
    /// The text of a file, without the end of its last line.
    func text(_ path: String) throws(SourceFailure) -> String {
        var text = String(decoding: try bytes(path), as: UTF8.self)
        while text.last == "\n" { text.removeLast() }
        return text
    }

    func number(_ path: String) throws(SourceFailure) -> Int {
        let text = try text(path)
        guard let number = Int(text) else { throw SourceFailure("\(path) holds no number but '\(text.prefix(40))'") }
        return number
    }

    func lines(_ path: String) throws(SourceFailure) -> [Substring] {
        try text(path).split(separator: "\n")
    }

    /// Whether there is such a file that can be looked at.
    func has(_ path: String) -> Bool { (try? attributes(of: path)) != nil }
}

/// The files of this machine.
package struct SystemFiles: FileTree {
    /// No file that is read here comes near it, except the log of a kernel with many messages.
    private static let bytesMax = 4 << 20
    private static let chunkBytes = 64 << 10
    /// A folder such as /sys/bus/pci/devices of a large machine.
    private static let namesMax = 65_536

    /// Paths are below it.
    private let root: String

    package init(root: String = "") { self.root = root }

    package func bytes(_ path: String) throws(SourceFailure) -> [UInt8] {
        // Whatever would wait, a pipe or the end of the kernel's log, does not.
        let descriptor = open(root + path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: SystemFiles.chunkBytes)
        while bytes.count <= SystemFiles.bytesMax {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            // Messages of the kernel's log that were overwritten meanwhile.
            if count < 0 && errno == EPIPE { continue }
            if count < 0 && errno == EAGAIN { return bytes }
            guard count >= 0 else { throw failure(path) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
        throw SourceFailure("\(path) is longer than \(SystemFiles.bytesMax >> 20) MiB")
    }

    package func names(in folder: String) throws(SourceFailure) -> [String] {
        guard let stream = opendir(root + folder) else { throw failure(folder) }
        defer { closedir(stream) }
        var names: [String] = []
        while names.count < SystemFiles.namesMax, let entry = readdir(stream) {
            // SAFETY: the system ends the name with a zero.
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    package func target(of link: String) throws(SourceFailure) -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(root + link, &buffer, buffer.count)
        guard count >= 0 else { throw failure(link) }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    package func attributes(of path: String) throws(SourceFailure) -> FileAttributes {
        var state = stat()
        guard stat(root + path, &state) == 0 else { throw failure(path) }
        return FileAttributes(mode: state.st_mode & 0o7777, byteCount: Int(state.st_size))
    }

    private func failure(_ path: String) -> SourceFailure {
        SourceFailure("\(path): \(errorText(errno))")
    }
}

/// The file systems of a machine.
package protocol FileSystems: Sendable {
    func space(at path: String) throws(SourceFailure) -> FileSystemSpace
}

package struct FileSystemSpace: Sendable, Equatable {
    package var totalBytes: UInt64
    /// What others than root may still write.
    package var freeBytes: UInt64
    /// 0 on file systems that make them as they are needed.
    package var totalNodes: UInt64
    package var freeNodes: UInt64

    package init(totalBytes: UInt64, freeBytes: UInt64, totalNodes: UInt64 = 0, freeNodes: UInt64 = 0) {
        self.totalBytes = totalBytes
        self.freeBytes = freeBytes
        self.totalNodes = totalNodes
        self.freeNodes = freeNodes
    }
}

package struct SystemFileSystems: FileSystems {
    package init() {}

    package func space(at path: String) throws(SourceFailure) -> FileSystemSpace {
        var state = statvfs()
        guard statvfs(path, &state) == 0 else { throw SourceFailure("\(path): \(errorText(errno))") }
        let unit = UInt64(state.f_frsize)
        return FileSystemSpace(
            totalBytes: UInt64(state.f_blocks) * unit, freeBytes: UInt64(state.f_bavail) * unit,
            totalNodes: UInt64(state.f_files), freeNodes: UInt64(state.f_favail))
    }
}

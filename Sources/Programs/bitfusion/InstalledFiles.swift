// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc

/// Where this program's companions are installed: `bin/`, and beside it `lib/bitfusion/client` and `soft`.
enum InstalledFiles {
    /// The folder of this executable.
    static var programFolder: String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let path = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    /// The folder that has `bin`, `lib` and `share`.
    static var prefix: String { programFolder.lastIndex(of: "/").map { String(programFolder[..<$0]) } ?? ".." }

    /// The folder of the libcuda.so.1 that applications are given.
    static func clientLibraryFolder() throws -> String {
        let base = ProcessInfo.processInfo.environment["BITFUSION_LIB_DIR"] ?? programFolder + "/../lib/bitfusion"
        guard let resolved = realpath(base + "/client", nil) else {
            throw Failure(
                .configuration,
                "\(base)/client/libcuda.so.1 is missing; install Bitfusion again, or set BITFUSION_LIB_DIR")
        }
        defer { free(resolved) }
        let folder = String(cString: resolved)
        guard access(folder + "/libcuda.so.1", R_OK) == 0 else {
            throw Failure(
                .configuration, "\(folder)/libcuda.so.1 is missing; install Bitfusion again, or set BITFUSION_LIB_DIR")
        }
        return folder
    }

    static func server() throws -> String {
        let path = programFolder + "/bitfusion-server"
        guard access(path, X_OK) == 0 else {
            throw Failure(
                .configuration, "the server part of Bitfusion is not installed on this machine (\(path) is missing)")
        }
        return path
    }
}

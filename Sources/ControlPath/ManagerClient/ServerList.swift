// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import Pool

/// The servers that a command may use: from `-l`, from the file of `-s`, from the user's or from the system's
/// servers.conf.
///
/// Files are only read, never written: what is learnt from servers is kept in memory.
package struct ServerList: Sendable {
    /// What is wrong with a list, in words.
    package struct Failure: Error, Sendable, Equatable {
        package enum Kind: Sendable, Equatable {
            case missing, malformed
            /// The file is there, or its folder is, and this user may not read it.
            case unreadable(path: String)
        }
        package let kind: Kind
        package let message: String
    }

    /// A list is configuration of one cluster.
    package static let serversMax = 10_000
    /// Longer than a list of ``serversMax`` servers in its longest form.
    package static let fileBytesMax = 4 << 20
    private static let systemPath = "/etc/bitfusion/servers.conf"

    package var entries: [ServerEntry]
    /// Whether it is the list of all servers, and not a choice that the user made for one command.
    package var isComplete: Bool

    package init(entries: [ServerEntry], isComplete: Bool) {
        self.entries = entries
        self.isComplete = isComplete
    }

    /// Reads a list in the form of `-l`: addresses separated by `;` or `,`.
    package static func parse(list: String) throws(Failure) -> [ServerEntry] {
        var servers: [ServerEntry] = []
        for part in list.split(whereSeparator: { $0 == ";" || $0 == "," }) {
            guard let server = ServerAddress(part), servers.count < serversMax else {
                throw Failure(
                    kind: .malformed, message: "'\(part)' in the server list is not an address such as 10.0.0.7:56001")
            }
            servers.append(ServerEntry(server))
        }
        guard !servers.isEmpty else { throw Failure(kind: .malformed, message: "the server list is empty") }
        return servers
    }

    /// Reads the text of a servers.conf: one address a line, `#` begins a comment; or the YAML form.
    package static func parse(file text: String, path: String) throws(Failure) -> [ServerEntry] {
        var servers: [ServerEntry] = []
        if YAMLServerList.isForm(of: text) {
            do throws(YAMLServerList.Failure) {
                servers = try YAMLServerList(text, serversMax: serversMax).entries
            } catch {
                throw Failure(kind: .malformed, message: "\(path) line \(error.line): \(error.message)")
            }
        } else {
            let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
            for (number, line) in lines.enumerated() {
                let content = line.prefix { $0 != "#" }
                guard content.contains(where: { $0 != " " && $0 != "\t" }) else { continue }
                guard let server = ServerAddress(content), servers.count < serversMax else {
                    throw Failure(
                        kind: .malformed,
                        message: "\(path) line \(number + 1): '\(content)' is not an address such as 10.0.0.7:56001")
                }
                servers.append(ServerEntry(server))
            }
        }
        guard !servers.isEmpty else {
            throw Failure(
                kind: .malformed, message: "\(path) names no server; write one address a line, such as 10.0.0.7:56001")
        }
        return servers
    }

    /// The servers of a command line.
    package static func load(list: String?, file: String?, home: String?) throws(Failure) -> ServerList {
        if let list { return ServerList(entries: try parse(list: list), isComplete: false) }
        if let file { return ServerList(entries: try read(file), isComplete: false) }
        let candidates = (home.map { ["\($0)/.bitfusion/servers.conf"] } ?? []) + [systemPath]
        for path in candidates {
            if access(path, F_OK) == 0 { return ServerList(entries: try read(path), isComplete: true) }
            // A folder that is closed to this user says whom the pool is for, whether or not there is a list in it. A
            // home that is closed is another user's, left in the environment.
            if path == systemPath, errno == EACCES { throw unread(path, errno) }
        }
        throw Failure(
            kind: .missing,
            message:
                "no servers are known: name one with -l ADDRESS, or list them in "
                + candidates.joined(separator: " or ")
        )
    }

    private static func read(_ path: String) throws(Failure) -> [ServerEntry] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unread(path, errno) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count <= fileBytesMax {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw unread(path, errno) }
            if count == 0 { return try parse(file: String(decoding: bytes, as: UTF8.self), path: path) }
            bytes += chunk[..<count]
        }
        throw Failure(
            kind: .malformed, message: "the server list \(path) is longer than \(fileBytesMax >> 20) MiB")
    }

    private static func unread(_ path: String, _ code: Int32) -> Failure {
        Failure(
            kind: code == EACCES ? .unreadable(path: path) : .missing,
            message: "cannot read the server list \(path): \(errorText(code))")
    }
}

// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc

/// The servers that a command may use: from `-l`, from the file of `-s`, from the user's or from the system's
/// servers.conf.
package enum ServerList {
    /// What is wrong with a list, in words.
    package struct Failure: Error, Sendable, Equatable {
        package enum Kind: Sendable { case missing, malformed }
        package let kind: Kind
        package let message: String
    }

    /// A list is configuration of one cluster.
    package static let serversMax = 10_000

    /// Reads a list in the form of `-l`: addresses separated by `;` or `,`.
    package static func parse(list: String) throws(Failure) -> [ServerAddress] {
        var servers: [ServerAddress] = []
        for part in list.split(whereSeparator: { $0 == ";" || $0 == "," }) {
            let text = part.trimmingPrefix { $0 == " " }
            guard let server = ServerAddress(text) else {
                throw Failure(
                    kind: .malformed, message: "'\(part)' in the server list is not an address such as 10.0.0.7:56001")
            }
            servers.append(server)
        }
        guard !servers.isEmpty else { throw Failure(kind: .malformed, message: "the server list is empty") }
        return servers
    }

    /// Reads the text of a servers.conf: one address a line, `#` begins a comment.
    package static func parse(file text: String, path: String) throws(Failure) -> [ServerAddress] {
        var servers: [ServerAddress] = []
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let content = line.prefix { $0 != "#" }
            guard content.contains(where: { $0 != " " && $0 != "\t" }) else { continue }
            guard let server = ServerAddress(content), servers.count < serversMax else {
                throw Failure(
                    kind: .malformed,
                    message: "\(path) line \(number + 1): '\(content)' is not an address such as 10.0.0.7:56001")
            }
            servers.append(server)
        }
        guard !servers.isEmpty else {
            throw Failure(
                kind: .malformed, message: "\(path) names no server; write one address a line, such as 10.0.0.7:56001")
        }
        return servers
    }

    /// The servers of a command line.
    package static func load(list: String?, file: String?, home: String?) throws(Failure) -> [ServerAddress] {
        if let list { return try parse(list: list) }
        if let file { return try read(file) }
        let candidates = (home.map { ["\($0)/.bitfusion/servers.conf"] } ?? []) + ["/etc/bitfusion/servers.conf"]
        for path in candidates where access(path, F_OK) == 0 { return try read(path) }
        throw Failure(
            kind: .missing,
            message:
                "no servers are known: name one with -l ADDRESS, or list them in "
                + candidates.joined(separator: " or ")
        )
    }

    private static func read(_ path: String) throws(Failure) -> [ServerAddress] {
        let text: String
        do {
            text = try String(decoding: Data(contentsOf: URL(filePath: path)), as: UTF8.self)
        } catch {
            throw Failure(
                kind: .missing, message: "cannot read the server list \(path): \(String(cString: strerror(errno)))")
        }
        return try parse(file: text, path: path)
    }
}

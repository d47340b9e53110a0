// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc

/// What is to be executed: a program's path and its arguments.
struct ApplicationCommand {
    /// As the user typed it.
    let name: String
    let path: String
    let arguments: [String]

    /// Reads words as argv, and one single word with white space as a line for the shell.
    ///
    /// Finds the program.
    init(_ words: [String]) throws {
        var words = words[...]
        if words.first == "--" {
            words = words.dropFirst()
        } else if let first = words.first, first.hasPrefix("-") {
            throw Failure(.usage, "there is no option '\(first)'; an application of that name goes behind --")
        }
        guard let first = words.first, !first.isEmpty else {
            throw Failure(.usage, "no application is given: bitfusion run -n 1 -- python train.py")
        }
        if words.count == 1, first.contains(where: { $0 == " " || $0 == "\t" || $0 == "\n" }) {
            name = first
            path = "/bin/sh"
            arguments = ["/bin/sh", "-c", "exec " + first]
            return
        }
        name = first
        arguments = Array(words)
        path = try ApplicationCommand.find(first)
    }

    /// Whether words that begin where an application may stand ask for the command's help.
    static func asksForHelp(_ words: [String]) -> Bool { words.first == "-h" || words.first == "--help" }

    private static func find(_ name: String) throws -> String {
        if name.contains("/") {
            guard access(name, F_OK) == 0 else {
                throw Failure(.notFound, "\(name): \(String(cString: strerror(errno)))")
            }
            guard access(name, X_OK) == 0 else {
                throw Failure(.notExecutable, "\(name): \(String(cString: strerror(errno)))")
            }
            return name
        }
        let folders = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        for folder in folders.split(separator: ":", omittingEmptySubsequences: false) {
            let path = (folder.isEmpty ? "." : String(folder)) + "/" + name
            if access(path, X_OK) == 0 { return path }
        }
        throw Failure(.notFound, "\(name): program not found in PATH")
    }
}

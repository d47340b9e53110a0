// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Where a server's resource scheduler is reached.
package struct ServerAddress: Sendable, Hashable, CustomStringConvertible {
    package static let defaultPort: UInt16 = 56001

    package var host: String
    package var port: UInt16

    package init(host: String, port: UInt16 = ServerAddress.defaultPort) {
        self.host = host
        self.port = port
    }

    /// Reads `host`, `host:port`, `host port`, `[IPv6]` or `[IPv6]:port`; nil for anything else.
    package init?(_ text: some StringProtocol) {
        let words = text.split { $0 == " " || $0 == "\t" }
        guard let first = words.first, words.count <= 2 else { return nil }
        var host = String(first)
        var port: UInt16?
        if host.hasPrefix("[") {
            guard let close = host.firstIndex(of: "]") else { return nil }
            let rest = host[host.index(after: close)...]
            if !rest.isEmpty {
                guard rest.hasPrefix(":"), let number = UInt16(rest.dropFirst()) else { return nil }
                port = number
            }
            host = String(host[host.index(after: host.startIndex)..<close])
        } else if host.filter({ $0 == ":" }).count == 1, let colon = host.firstIndex(of: ":") {
            guard let number = UInt16(host[host.index(after: colon)...]) else { return nil }
            port = number
            host = String(host[..<colon])
        }
        if words.count == 2 {
            guard port == nil, let number = UInt16(words[1]) else { return nil }
            port = number
        }
        guard ServerAddress.isHost(host), port != 0 else { return nil }
        self.init(host: host, port: port ?? ServerAddress.defaultPort)
    }

    /// A name, an IPv4 address, or an IPv6 address with or without its zone.
    private static func isHost(_ text: String) -> Bool {
        if text.contains(":") {
            var bytes = in6_addr()
            return unsafe inet_pton(AF_INET6, String(text.prefix { $0 != "%" }), &bytes) == 1
        }
        return (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || "-._".utf8.contains(byte)
            }
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

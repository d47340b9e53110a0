// SPDX-License-Identifier: Apache-2.0
import Glibc
package import Pool

/// The servers that a command uses: those of its list, and those that servers of the list report.
///
/// It is kept in memory only: a home folder that cannot be written is as good as any. A list that the user chose for
/// one command stays as it is.
package struct ServerDirectory: Sendable {
    package private(set) var servers: [ServerAddress]
    private let isComplete: Bool
    /// Every address at which a known server is reached.
    private var known: Set<ServerAddress>
    /// Whether ``known`` has the numbers behind the names.
    private var isNumeric = false
    private let numbers: @Sendable (ServerAddress) -> [ServerAddress]

    /// `servers` has one address of each entry of the list; `numbers` finds the numeric addresses of a name.
    init(
        _ servers: [ServerAddress], of list: ServerList,
        numbers: @escaping @Sendable (ServerAddress) -> [ServerAddress] = ServerDirectory.numericAddresses
    ) {
        self.servers = servers
        self.numbers = numbers
        isComplete = list.isComplete
        known = Set(list.entries.flatMap(\.addresses) + servers)
    }

    /// Adds what a server has reported, and returns the servers that were not known.
    ///
    /// What is no address is left out: it comes from the network.
    package mutating func learn(_ reported: [String]) -> [ServerAddress] {
        guard isComplete else { return [] }
        var new: [ServerAddress] = []
        for text in reported.prefix(ServerList.serversMax) {
            guard let server = ServerAddress(text), !known.contains(server), servers.count < ServerList.serversMax
            else { continue }
            // The same server may be known by its name and reported by its number.
            if !isNumeric { known.formUnion(servers.flatMap(numbers)) }
            isNumeric = true
            let addresses = numbers(server)
            if known.isDisjoint(with: addresses) {
                servers.append(server)
                new.append(server)
            }
            known.insert(server)
            known.formUnion(addresses)
        }
        return new
    }

    private static func numericAddresses(of server: ServerAddress) -> [ServerAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(server.host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [ServerAddress] = []
        var next = list
        while let entry = next {
            next = entry.pointee.ai_next
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard
                getnameinfo(
                    entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0,
                    NI_NUMERICHOST) == 0
            else { continue }
            let host = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            addresses.append(ServerAddress(host: host, port: server.port))
        }
        return addresses
    }
}

extension ServerList {
    /// The list as a command starts with it: one address of each server.
    package func directory() -> ServerDirectory { ServerDirectory(resolve(), of: self) }
}

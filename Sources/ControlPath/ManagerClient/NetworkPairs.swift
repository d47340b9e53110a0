// SPDX-License-Identifier: Apache-2.0
package import Pool

/// Which interface of this machine is measured with which network of a server.
package enum NetworkPairs {
    /// A server that has told its networks, and the numeric ends of the connection on which it did.
    package struct Server: Sendable {
        package let address: ServerAddress
        package let ownEnd: String
        package let peerEnd: String
        package let networks: [Network]

        package init(address: ServerAddress, ownEnd: String, peerEnd: String, networks: [Network]) {
            self.address = address
            self.ownEnd = ownEnd
            self.peerEnd = peerEnd
            self.networks = networks
        }
    }

    package struct Pair: Sendable, Equatable {
        /// This machine's interface, and its address.
        package let interface: String
        package let source: String
        /// The address by which the server is known.
        package let server: String
        /// The server's name of its network, and where the network is measured.
        package let network: String
        package let target: ServerAddress
    }

    /// Every interface with every server, an interface's lines together: the network of the same subnet, otherwise the
    /// one of the same place in the order, unless that is another interface's by subnet.
    ///
    /// The way on which the server was reached is always measured, whatever it calls its networks: behind address
    /// translation it does not know the address by which it is reached.
    package static func pairs(interfaces: [Network], servers: [Server]) -> [Pair] {
        var interfaces = interfaces
        for server in servers where !interfaces.contains(where: { $0.address == server.ownEnd }) {
            // The loopback, or an interface's further address.
            interfaces.insert(
                Network(
                    name: "", interface: isLoopback(server.ownEnd) ? "lo" : server.ownEnd, address: server.ownEnd,
                    prefixLength: 0),
                at: 0)
        }
        return interfaces.indices.flatMap { index in
            servers.compactMap { pair(interfaces, index, $0) }
        }
    }

    private static func pair(_ interfaces: [Network], _ index: Int, _ server: Server) -> Pair? {
        let interface = interfaces[index]
        func pair(_ network: String, _ address: String) -> Pair {
            Pair(
                interface: interface.interface, source: interface.address, server: server.peerEnd, network: network,
                target: ServerAddress(host: address, port: server.address.port))
        }
        if interface.address == server.ownEnd {
            let known = server.networks.first { $0.address == server.peerEnd }
            return pair(known?.name ?? "net1", server.peerEnd)
        }
        // Nothing else of this machine leads to a server that is only on it.
        guard !isLoopback(server.ownEnd), !isLoopback(interface.address) else { return nil }
        if let same = server.networks.first(where: { $0.contains(interface.address) }) {
            return pair(same.name, same.address)
        }
        guard index < server.networks.count else { return nil }
        let candidate = server.networks[index]
        let isTaken = candidate.address == server.peerEnd || interfaces.contains { candidate.contains($0.address) }
        return isTaken ? nil : pair(candidate.name, candidate.address)
    }

    private static func isLoopback(_ address: String) -> Bool { address.hasPrefix("127.") || address == "::1" }
}

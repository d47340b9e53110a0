// SPDX-License-Identifier: Apache-2.0
import Pool

/// From what is configured to the addresses that a command talks to.
extension ServerList {
    /// How long it is tried which address of a server answers.
    static let probeMilliseconds = 1_000

    /// The list with the servers that other servers have reported.
    ///
    /// A list that the user chose for one command stays as it is. A server that is known by any of its addresses is not
    /// added again; new ones follow in the order in which they were reported.
    package func merging(reported: [ServerEntry]) -> ServerList {
        guard isComplete else { return self }
        var merged = self
        for server in reported where merged.entries.count < ServerList.serversMax {
            let isKnown = merged.entries.contains { known in
                known.addresses.contains { server.addresses.contains($0) }
            }
            if !isKnown { merged.entries.append(server) }
        }
        return merged
    }

    /// One address of each server, in the list's order.
    ///
    /// Of a server with several addresses, the first in its order at which somebody accepts a connection; the preferred
    /// one when nobody does, so that the command names it.
    package func resolve(
        isReachable: @escaping @Sendable (ServerAddress) -> Bool = { address in
            (try? SchedulerClient(address, connectMilliseconds: probeMilliseconds)) != nil
        }
    ) -> [ServerAddress] {
        let doubtful = entries.filter { $0.addresses.count > 1 }.flatMap(\.addresses)
        guard !doubtful.isEmpty else { return entries.map(\.preferred) }
        let answers = mapConcurrently(doubtful, isReachable)
        let reachable = zip(doubtful, answers).filter(\.1).map(\.0)
        return entries.map { entry in
            entry.addresses.count == 1
                ? entry.preferred : entry.addresses.first { reachable.contains($0) } ?? entry.preferred
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package import Pool

/// From what is configured to the addresses that a command talks to.
extension ServerList {
    /// How long it is tried which address of a server answers.
    static let probeMilliseconds = 1_000

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

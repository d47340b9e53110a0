// SPDX-License-Identifier: Apache-2.0
package import Pool

/// One server of a list: the addresses at which it may be reached, the preferred one first.
///
/// Never empty.
package struct ServerEntry: Sendable, Equatable {
    package let addresses: [ServerAddress]

    package init(_ address: ServerAddress) { addresses = [address] }

    /// nil without any address; the same one twice counts once.
    package init?(_ addresses: [ServerAddress]) {
        var distinct: [ServerAddress] = []
        for address in addresses where !distinct.contains(address) { distinct.append(address) }
        guard !distinct.isEmpty else { return nil }
        self.addresses = distinct
    }

    /// The address to use when nothing more is known.
    package var preferred: ServerAddress { addresses[0] }
}

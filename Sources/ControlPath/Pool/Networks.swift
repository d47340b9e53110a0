// SPDX-License-Identifier: Apache-2.0
import Glibc

/// This machine's network interfaces that are up and have an address, without the loopback.
///
/// Both ends of a measurement list theirs so.
package enum Networks {
    /// A machine has a few; a container host has one for each container.
    package static let countMax = 64

    /// The IPv4 addresses; of an interface that has none, its global IPv6 address.
    ///
    /// In the system's order.
    package static func list() -> [Network] {
        var addresses: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&addresses) == 0 else { return [] }
        defer { unsafe freeifaddrs(addresses) }
        var found: [Network] = []
        var sixes: [Network] = []
        var next = unsafe addresses
        while let entry = unsafe next?.pointee {
            unsafe next = entry.ifa_next
            let flags = unsafe entry.ifa_flags
            guard flags & UInt32(IFF_UP) != 0, flags & UInt32(IFF_LOOPBACK) == 0,
                let network = unsafe Networks.network(entry)
            else { continue }
            if network.address.contains(":") { sixes.append(network) } else { found.append(network) }
        }
        for network in sixes where !found.contains(where: { $0.interface == network.interface }) {
            found.append(network)
        }
        return found.prefix(countMax).enumerated().map { index, network in
            var network = network
            network.name = "net\(index + 1)"
            network.receivedBytes = counter("rx_bytes", of: network.interface)
            network.sentBytes = counter("tx_bytes", of: network.interface)
            return network
        }
    }

    /// One address of one interface; nil for other families and for addresses of one link only.
    private static func network(_ entry: ifaddrs) -> Network? {
        guard let address = unsafe entry.ifa_addr, let mask = unsafe entry.ifa_netmask else { return nil }
        let family = unsafe address.pointee.sa_family
        guard let bytes = unsafe addressBytes(address), let maskBytes = unsafe addressBytes(mask) else { return nil }
        if family == sa_family_t(AF_INET6), bytes[0] == 0xFE, bytes[1] & 0xC0 == 0x80 { return nil }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard unsafe inet_ntop(Int32(family), bytes, &text, socklen_t(text.count)) != nil else { return nil }
        let name = unsafe String(cString: entry.ifa_name)
        return Network(
            name: "", interface: name,
            address: String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self),
            prefixLength: maskBytes.reduce(0) { $0 + $1.nonzeroBitCount })
    }

    /// The 4 or 16 bytes of an address.
    private static func addressBytes(_ address: UnsafeMutablePointer<sockaddr>) -> [UInt8]? {
        // SAFETY: the family says which structure stands there.
        switch Int32(unsafe address.pointee.sa_family) {
        case AF_INET:
            unsafe address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { pointer in
                unsafe withUnsafeBytes(of: pointer.pointee.sin_addr) { unsafe Array($0) }
            }
        case AF_INET6:
            unsafe address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { pointer in
                unsafe withUnsafeBytes(of: pointer.pointee.sin6_addr) { unsafe Array($0) }
            }
        default: nil
        }
    }

    private static func counter(_ name: String, of interface: String) -> UInt64? {
        let descriptor = unsafe open("/sys/class/net/\(interface)/statistics/\(name)", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = unsafe read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return UInt64(String(decoding: bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }
}

extension Network {
    /// Whether an address is of this network.
    package func contains(_ other: String) -> Bool {
        guard let mine = Network.bytes(address), let theirs = Network.bytes(other), mine.count == theirs.count,
            prefixLength > 0
        else { return false }
        let whole = min(prefixLength / 8, mine.count)
        guard mine[..<whole] == theirs[..<whole] else { return false }
        guard whole < mine.count, prefixLength % 8 > 0 else { return true }
        let mask = UInt8(truncatingIfNeeded: 0xFF00 >> (prefixLength % 8))
        return mine[whole] & mask == theirs[whole] & mask
    }

    private static func bytes(_ address: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if unsafe inet_pton(AF_INET, address, &bytes) == 1 { return Array(bytes.prefix(4)) }
        return unsafe inet_pton(AF_INET6, address, &bytes) == 1 ? bytes : nil
    }
}

// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials

/// What an administrator decides about a server and its clients.
///
/// A client is known by its address until clients have certificates.
package struct PoolSettings: Sendable, Equatable, Codable {
    /// Whether new requests are accepted; running allocations go on without.
    package var acceptsRequests = true
    /// The most GPUs that a client may have at once; parts of GPUs count as their share of the memory.
    package var quotaGPUs = 64.0
    /// Minutes without a call after which an allocation ends, with decimals; 0: never.
    package var idleMinutes = 0.0
    /// How much of the disk images of modules may take, so that clients need not send them again; 0: none.
    package var moduleCacheMebibytes = 2048
    /// The servers of the pool, as clients reach them: `host` or `host:port`.
    ///
    /// Clients that know one learn the others.
    package var servers: [String] = []
    /// What differs for some clients, by their address.
    package var clients: [String: Client] = [:]

    package struct Client: Sendable, Equatable, Codable {
        package var quotaGPUs: Double?
        package var idleMinutes: Double?

        enum CodingKeys: String, CodingKey {
            case quotaGPUs = "quota_gpus"
            case idleMinutes = "idle_minutes"
        }
    }

    /// Why a text holds no settings, in words.
    package struct Malformed: Error, Sendable, CustomStringConvertible {
        package let description: String

        package init(description: String) { self.description = description }
    }

    package static let serversMax = 10_000
    package static let idleMinutesMax = 7.0 * 24 * 60
    /// 1 TiB.
    package static let moduleCacheMebibytesMax = 1 << 20

    package init() {}

    /// Reads JSON such as `{"accept_requests": true, "quota_gpus": 3.5, "idle_minutes": 10, "clients": {...}}`; what is
    /// absent has its default.
    package init(json: [UInt8]) throws(Malformed) {
        do {
            self = try JSONDecoder().decode(PoolSettings.self, from: Data(json))
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
            throw Malformed(
                description: "'\(context.codingPath.map(\.stringValue).joined(separator: "."))' is of the wrong type")
        } catch {
            throw Malformed(description: "it is not JSON of settings")
        }
        guard servers.count <= PoolSettings.serversMax else {
            throw Malformed(
                description: "servers has \(servers.count) entries; \(PoolSettings.serversMax) are the most")
        }
        for server in servers where ServerAddress(server) == nil {
            throw Malformed(description: "'\(server)' in servers is not an address such as 10.0.0.7:56001")
        }
        guard (0...PoolSettings.moduleCacheMebibytesMax).contains(moduleCacheMebibytes) else {
            throw Malformed(
                description: "module_cache_mib is \(moduleCacheMebibytes); it must be 0 to "
                    + "\(PoolSettings.moduleCacheMebibytesMax)")
        }
        for (name, quota, minutes) in [("", quotaGPUs, idleMinutes)]
            + clients.map({ (" of client \($0.key)", $0.value.quotaGPUs ?? 0, $0.value.idleMinutes ?? 0) })
        {
            guard quota >= 0, quota <= 1e6 else {
                throw Malformed(description: "quota_gpus\(name) is \(quota); it must be 0 or more")
            }
            guard minutes >= 0, minutes <= PoolSettings.idleMinutesMax else {
                throw Malformed(
                    description:
                        "idle_minutes\(name) is \(minutes); it must be 0 to \(Int(PoolSettings.idleMinutesMax))")
            }
        }
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        acceptsRequests = try values.decodeIfPresent(Bool.self, forKey: .acceptsRequests) ?? acceptsRequests
        quotaGPUs = try values.decodeIfPresent(Double.self, forKey: .quotaGPUs) ?? quotaGPUs
        idleMinutes = try values.decodeIfPresent(Double.self, forKey: .idleMinutes) ?? idleMinutes
        moduleCacheMebibytes =
            try values.decodeIfPresent(Int.self, forKey: .moduleCacheMebibytes) ?? moduleCacheMebibytes
        servers = try values.decodeIfPresent([String].self, forKey: .servers) ?? servers
        clients = try values.decodeIfPresent([String: Client].self, forKey: .clients) ?? clients
    }

    enum CodingKeys: String, CodingKey {
        case clients, servers
        case acceptsRequests = "accept_requests"
        case quotaGPUs = "quota_gpus"
        case idleMinutes = "idle_minutes"
        case moduleCacheMebibytes = "module_cache_mib"
    }

    package func quotaGPUs(of client: String) -> Double { clients[client]?.quotaGPUs ?? quotaGPUs }
    package func idleMinutes(of client: String) -> Double { clients[client]?.idleMinutes ?? idleMinutes }
}

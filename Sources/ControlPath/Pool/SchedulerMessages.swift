// SPDX-License-Identifier: Apache-2.0

/// A line of JSON to the resource scheduler.
///
/// GPUs are *offered* to the connection that asked with `allocate`, and granted when it accepts: a client may wait at
/// several servers, take the first offer and leave the others. The connection on which they were granted owns them:
/// when it closes, for whatever reason, or says nothing for ``leaseSeconds``, the GPUs are free.
package struct SchedulerRequest: Sendable, Codable {
    package enum Kind: String, Sendable, Codable {
        /// What the server has and what is free.
        case list
        /// What the server measures of itself.
        case status
        case allocate
        /// Takes what was offered.
        case accept
        /// The owner is alive; nothing is answered.
        case heartbeat
        /// Gives the GPUs back: of this connection, or of the allocation whose `ticket` is given.
        case release
        /// From now on the connection carries blocks: a length of 4 bytes, little-endian, and so many bytes, which come
        /// back as they are.
        case echo
        /// What the server's own health checks find.
        case health
    }

    package static let version = 2
    /// An owner says something this often.
    package static let heartbeatSeconds = 5
    /// An owner that has said nothing for so long has lost its GPUs.
    package static let leaseSeconds = 30
    /// An offer that is not accepted is withdrawn after so long.
    package static let offerSeconds = 5
    /// The largest block of an `echo`.
    package static let echoBytesMax = 4 << 20
    /// The most filters of one request.
    package static let filtersMax = 64
    /// No request comes near it.
    package static let lineBytesMax = 64 << 10

    package var version = SchedulerRequest.version
    package var type: Kind
    package var gpus: Int?
    package var mib: Int?
    package var share: Double?
    /// How long the client waits for GPUs; 0: not at all.
    package var waitSeconds: Int?
    /// For logs: `user program`.
    package var client: String?
    /// Conditions on the server and its GPUs, as `--filter` takes them: `device.name=Tesla`.
    package var filters: [String]?
    /// 64 hexadecimal digits.
    package var ticket: String?

    package init(_ type: Kind) { self.type = type }

    enum CodingKeys: String, CodingKey {
        case version, type, gpus, mib, share, client, filters, ticket
        case waitSeconds = "wait_seconds"
    }
}

/// A line of JSON from the resource scheduler.
package struct SchedulerReply: Sendable, Codable {
    package enum Kind: String, Sendable, Codable {
        case inventory, status, waiting, offer, granted, refused, released, echoing, health
        /// Something that the owner's user should know; the allocation goes on.
        case warning
        /// The server has ended the allocation; `message` says why.
        case ended
    }

    /// Why a request is refused.
    package enum Refusal: String, Sendable, Codable {
        /// It is not a request of this protocol.
        case malformed
        /// It can never be met here.
        case impossible
        /// It was not met in the time the client waits.
        case timeout
        /// The client's quota does not allow it.
        case quota
        /// The server stops, accepts no new requests, or has too much to do.
        case unavailable
    }

    package var version = SchedulerRequest.version
    package var type: Kind
    package var code: Refusal?
    /// A sentence for the user.
    package var message: String?
    /// 1 for the next in the queue.
    package var position: Int?
    package var allocation: Int?
    /// 64 hexadecimal digits.
    package var ticket: String?
    package var dispatcherPort: Int?
    /// Minutes without a call after which the server ends the allocation; 0: never.
    package var idleMinutes: Int?
    package var driverVersion: Int?
    package var runningTasks: Int?
    package var waitingTasks: Int?
    package var isDraining: Bool?
    package var status: ServerStatus?
    package var health: HealthReport?
    /// The server's clock: milliseconds since 1970.
    package var clockMilliseconds: Int64?
    /// The product's version.
    package var release: String?
    /// What the server speaks on data connections, `major.minor`.
    package var wireVersion: String?
    package var gpus: [Entry]?
    /// The servers of the pool, as `host:port`, where the client may want another one (`inventory`, `status`,
    /// `waiting`, `refused`).
    package var servers: [String]?

    /// One GPU of the server, or of the allocation.
    package struct Entry: Sendable, Codable, Equatable {
        package var index: Int
        package var name: String
        package var uuid: String
        package var totalMiB: Int
        /// Free for others (inventory).
        package var freeMiB: Int?
        /// Allocated (granted); nil for all of it.
        package var allocatedMiB: Int?

        package init(_ gpu: GPU, freeMiB: Int? = nil, allocatedMiB: Int? = nil) {
            index = gpu.index
            name = gpu.name
            uuid = gpu.uuid
            totalMiB = gpu.totalMiB
            self.freeMiB = freeMiB
            self.allocatedMiB = allocatedMiB
        }

        enum CodingKeys: String, CodingKey {
            case index, name, uuid
            case totalMiB = "total_mib"
            case freeMiB = "free_mib"
            case allocatedMiB = "allocated_mib"
        }
    }

    package init(_ type: Kind) { self.type = type }

    package init(refused code: Refusal, _ message: String) {
        type = .refused
        self.code = code
        self.message = message
    }

    enum CodingKeys: String, CodingKey {
        case version, type, code, message, position, allocation, ticket, gpus, servers, status, health, release
        case dispatcherPort = "dispatcher_port"
        case idleMinutes = "idle_minutes"
        case driverVersion = "driver_version"
        case runningTasks = "running_tasks"
        case waitingTasks = "waiting_tasks"
        case isDraining = "is_draining"
        case clockMilliseconds = "clock_ms"
        case wireVersion = "wire_version"
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A line of JSON to the resource scheduler.
///
/// The connection on which `allocate` is granted owns the allocation: when it closes, for whatever reason, the GPUs are
/// free.
package struct SchedulerRequest: Sendable, Codable {
    package enum Kind: String, Sendable, Codable {
        case list, allocate, release
    }

    package static let version = 1
    /// No request comes near it.
    package static let lineBytesMax = 64 << 10

    package var version = SchedulerRequest.version
    package var type: Kind
    package var gpus: Int?
    package var mib: Int?
    package var share: Double?
    /// How long the client waits for GPUs; 0: not at all.
    package var waitSeconds: Int?
    /// For logs: `user@host program`.
    package var client: String?

    package init(_ type: Kind) { self.type = type }

    enum CodingKeys: String, CodingKey {
        case version, type, gpus, mib, share, client
        case waitSeconds = "wait_seconds"
    }
}

/// A line of JSON from the resource scheduler.
package struct SchedulerReply: Sendable, Codable {
    package enum Kind: String, Sendable, Codable {
        case inventory, waiting, granted, refused, released
    }

    /// Why a request is refused.
    package enum Refusal: String, Sendable, Codable {
        /// It is not a request of this protocol.
        case malformed
        /// It can never be met here.
        case impossible
        /// It was not met in the time the client waits.
        case timeout
        /// The server stops or has too much to do.
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
    package var gpus: [Entry]?

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
        case version, type, code, message, position, allocation, ticket, gpus
        case dispatcherPort = "dispatcher_port"
        case idleMinutes = "idle_minutes"
        case driverVersion = "driver_version"
        case runningTasks = "running_tasks"
        case waitingTasks = "waiting_tasks"
    }
}

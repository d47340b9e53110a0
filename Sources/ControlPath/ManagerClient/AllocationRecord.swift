// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import Pool

/// An allocation that outlives the command that asked for it, as its file says it.
///
/// The file is a secret of its user: whoever reads the ticket can use the GPUs.
package struct AllocationRecord: Sendable, Codable, Equatable {
    static let version = 1

    var version = AllocationRecord.version
    /// 8 hexadecimal digits, the name of the file.
    package let id: String
    /// The server's address, as the user knows it.
    package let server: String
    /// `BITFUSION_SERVER` of its applications.
    package let dispatcher: String
    /// 64 hexadecimal digits; empty when it has ended.
    package var ticket: String
    package let idleMinutes: Int
    /// Milliseconds since 1970.
    package let createdMilliseconds: Int64
    package let holder: HolderProcess
    /// Why it has ended, for the next command to say; nil while it has not.
    package var ended: String?

    enum CodingKeys: String, CodingKey {
        case version, id, server, dispatcher, ticket, holder, ended
        case idleMinutes = "idle_minutes"
        case createdMilliseconds = "created_ms"
    }

    package init(
        id: String, server: String, dispatcher: String, ticket: String, idleMinutes: Int, holder: HolderProcess
    ) {
        self.id = id
        self.server = server
        self.dispatcher = dispatcher
        self.ticket = ticket
        self.idleMinutes = idleMinutes
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        createdMilliseconds = Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
        self.holder = holder
    }

    /// A file's content is input like any other; throws what is wrong with it.
    init(json bytes: [UInt8]) throws(AllocationStore.Failure) {
        do {
            self = try JSONDecoder().decode(AllocationRecord.self, from: Data(bytes))
        } catch {
            throw .unusable("it is not the description of an allocation")
        }
        guard version == AllocationRecord.version else {
            throw .unusable("it is of version \(version), and this program knows version \(AllocationRecord.version)")
        }
        guard AllocationRecord.isID(id), ServerAddress(server) != nil, ServerAddress(dispatcher) != nil,
            ended != nil || (ticket.utf8.count == 64 && ticket.utf8.allSatisfy(isHexadecimal)), idleMinutes >= 0
        else { throw .unusable("its members are out of range") }
    }

    package static func isID(_ text: String) -> Bool { text.utf8.count == 8 && text.utf8.allSatisfy(isHexadecimal) }

    package static func newID() -> String {
        let digits = String(UInt32.random(in: 0...UInt32.max), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    var json: [UInt8] {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            return Array(try encoder.encode(self)) + [UInt8(ascii: "\n")]
        }
    }

    /// Why nothing can run in it any more; nil when something can.
    package var endReason: String? {
        if let ended { return "allocation \(id) of server \(server) has ended: \(ended)" }
        guard holder.state == .gone else { return nil }
        return "allocation \(id) of server \(server) has ended: its holder (process \(holder.pid)) is gone"
    }
}

private func isHexadecimal(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
}

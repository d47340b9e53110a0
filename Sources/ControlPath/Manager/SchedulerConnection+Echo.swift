// SPDX-License-Identifier: Apache-2.0
import Pool
import Threads

/// `echo`: blocks come back as they are, so that a client can measure the network.
extension SchedulerConnection {
    /// A block is received whole before it goes back, or the two directions would overlap and a half of the round trip
    /// would not be one way; so each of these connections may hold ``SchedulerRequest/echoBytesMax`` of memory.
    static let echoesMax = 16
    /// Nobody measures for so long.
    private static let echoMillisecondsMax: Int64 = 60_000

    func echo() throws {
        guard echoes.increment(limit: SchedulerConnection.echoesMax) else {
            return try send(
                SchedulerReply(
                    refused: .unavailable,
                    "\(SchedulerConnection.echoesMax) measurements run already; try again in a minute"))
        }
        defer { echoes.decrement() }
        try send(SchedulerReply(.echoing))
        connection.beginBlocks(milliseconds: Int(SchedulerConnection.requestMilliseconds))
        let deadline = monotonicMilliseconds() + SchedulerConnection.echoMillisecondsMax
        var buffer: [UInt8] = []
        while monotonicMilliseconds() < deadline {
            let count = try connection.receiveBlock(into: &buffer, limit: SchedulerRequest.echoBytesMax)
            try connection.send(buffer, count: count)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import Pool
import Threads

/// Measures the network to a server with blocks that come back.
package struct EchoMeter {
    /// How long blocks of a size are on their way, in one direction.
    package struct Latency: Sendable, Equatable {
        package let microseconds: Int
    }

    /// Blocks of one size that are sent; the first ones, which open windows and caches, do not count.
    static let rounds = 50
    static let warmUpRounds = 10
    /// A slow network ends the rounds of one size, not the command.
    static let millisecondsMax: Int64 = 3_000
    /// How long one block may take.
    static let blockMilliseconds = 10_000

    private let client: SchedulerClient

    /// Asks a connected server to send back blocks.
    package init(_ client: SchedulerClient) throws(SchedulerClient.Failure) {
        self.client = client
        try client.send(SchedulerRequest(.echo))
        let reply = try client.answer()
        guard reply.type == .echoing else {
            throw SchedulerClient.Failure(
                message: "server \(client.server): \(reply.message ?? "it does not send back blocks")")
        }
        client.connection.beginBlocks(milliseconds: EchoMeter.blockMilliseconds)
    }

    /// Half of the round trip of blocks of a size: the median of the rounds, so that one that met other traffic says
    /// nothing.
    package func latency(byteCount: Int) throws(SchedulerClient.Failure) -> Latency {
        let header = LineConnection.blockHeaderBytes
        var block = [UInt8](repeating: 0, count: header + byteCount)
        for index in 0..<header { block[index] = UInt8(truncatingIfNeeded: byteCount >> (8 * index)) }
        for index in header..<block.count { block[index] = UInt8(truncatingIfNeeded: index &* 31) }
        var answer = [UInt8](repeating: 0, count: block.count)
        var nanoseconds: [Int64] = []
        let deadline = monotonicMilliseconds() + EchoMeter.millisecondsMax
        for round in 0..<EchoMeter.warmUpRounds + EchoMeter.rounds {
            if round > 2 && monotonicMilliseconds() > deadline { break }
            let begin = monotonicNanoseconds()
            do throws(LineConnection.Failure) {
                try client.connection.send(block, count: block.count)
                _ = try client.connection.receiveBlock(into: &answer, limit: byteCount)
            } catch {
                throw SchedulerClient.Failure(message: "server \(client.server) did not send a block back: \(error)")
            }
            nanoseconds.append(monotonicNanoseconds() - begin)
            guard answer == block else {
                throw SchedulerClient.Failure(message: "server \(client.server) sent another block back")
            }
        }
        // Rounds that a slow network cut short count from the beginning.
        let counted =
            nanoseconds.count > 2 * EchoMeter.warmUpRounds
            ? nanoseconds.dropFirst(EchoMeter.warmUpRounds) : nanoseconds[...]
        let median = counted.sorted()[counted.count / 2]
        return Latency(microseconds: Int((median / 2 + 500) / 1000))
    }
}

private func monotonicNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

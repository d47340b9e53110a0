// SPDX-License-Identifier: Apache-2.0
import Glibc
package import Health
package import Pool
import Threads

/// Asks a server what a client's health checks want to know of it.
package enum ServerProbe {
    /// One server has so long for each answer.
    static let milliseconds: Int32 = 2_000
    /// Some full segments.
    private static let blockBytes = 64 << 10

    package static func reading(of server: ServerAddress) -> ServerReading {
        let answer: Result<ServerReading.Answer, SourceFailure>
        do throws(SchedulerClient.Failure) {
            answer = .success(try ask(server))
        } catch {
            answer = .failure(SourceFailure(error.message))
        }
        return ServerReading(address: server.description, answer: answer)
    }

    private static func ask(_ server: ServerAddress) throws(SchedulerClient.Failure) -> ServerReading.Answer {
        let client = try SchedulerClient(server, connectMilliseconds: Int(milliseconds))
        let began = wallClockMilliseconds()
        try client.send(SchedulerRequest(.list))
        guard let reply = try client.receive(milliseconds: milliseconds) else {
            throw SchedulerClient.Failure(message: "server \(server) does not answer within \(milliseconds / 1000) s")
        }
        let ended = wallClockMilliseconds()
        // It refuses what is not of its own version, and says which that is.
        guard reply.version == SchedulerRequest.version else {
            return ServerReading.Answer(protocolVersion: reply.version)
        }
        guard reply.type == .inventory else {
            throw SchedulerClient.Failure(message: "server \(server): \(reply.message ?? "it does not list its GPUs")")
        }
        return ServerReading.Answer(
            protocolVersion: reply.version, wireVersion: reply.wireVersion, release: reply.release,
            cudaVersion: reply.driverVersion, gpuMiB: reply.gpus?.map(\.totalMiB) ?? [],
            // Its clock was read about half-way between.
            clockAheadMilliseconds: reply.clockMilliseconds.map { $0 - (began + ended) / 2 },
            path: client.ends.map { path(to: server, from: $0.own) })
    }

    /// Sends full segments to a server, which sends them back.
    private static func path(to server: ServerAddress, from own: String) -> ServerReading.Path {
        var path = ServerReading.Path(ownAddress: own, segmentBytes: 0, problem: nil)
        do throws(SchedulerClient.Failure) {
            let client = try SchedulerClient(server, connectMilliseconds: Int(milliseconds))
            path.segmentBytes = segmentBytes(client.connection.descriptor)
            try client.send(SchedulerRequest(.echo))
            guard let reply = try client.receive(milliseconds: milliseconds), reply.type == .echoing else {
                throw SchedulerClient.Failure(message: "the server sends nothing back now")
            }
            client.connection.beginBlocks(milliseconds: Int(milliseconds))
            guard comesBack(1, client.connection) else {
                throw SchedulerClient.Failure(message: "the server does not send back a byte")
            }
            if !comesBack(blockBytes, client.connection) { path.problem = .fullSegmentsAreLost }
        } catch {
            path.problem = .notTried(error.message)
        }
        return path
    }

    private static func comesBack(_ byteCount: Int, _ connection: LineConnection) -> Bool {
        let header = LineConnection.blockHeaderBytes
        var block = [UInt8](repeating: 0, count: header + byteCount)
        for index in 0..<header { block[index] = UInt8(truncatingIfNeeded: byteCount >> (8 * index)) }
        var answer: [UInt8] = []
        do throws(LineConnection.Failure) {
            try connection.send(block, count: block.count)
            return try connection.receiveBlock(into: &answer, limit: byteCount) == block.count
        } catch {
            return false
        }
    }

    /// The largest segment that the ends of a connection have agreed on.
    private static func segmentBytes(_ descriptor: Int32) -> Int {
        var bytes: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_MAXSEG, &bytes, &length) == 0 else { return 0 }
        return Int(bytes)
    }
}

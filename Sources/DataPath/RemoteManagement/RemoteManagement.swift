// SPDX-License-Identifier: Apache-2.0
import CCallTrace
import Glibc
package import Management
package import Transport
import Wire

/// The management library of a GPU server: each question is one round trip to a worker.
///
/// What never changes is asked once. A process that forks gives each of its children a connection of its own, and a
/// connection that broke is made anew for the next question, as long as the allocation is there.
package final class RemoteManagement: ManagementSource {
    private let endpoint: Endpoint
    private let ticket: [UInt8]
    private var connection: Connection?
    /// The process that made the connection.
    private var owner = getpid()
    private var sequence: UInt64 = 0
    private var known: [ManagementQuestion: ManagementAnswer] = [:]

    /// A worker that has to start its driver first may take this long.
    private static let helloSecondsMax = 30
    /// A server that does not answer for so long is lost.
    private static let answerSecondsMax = 20
    /// More answers that never change than all GPUs of a server have.
    private static let knownMax = 4096

    /// Connects to the server that `bitfusion run` has chosen: BITFUSION_SERVER and BITFUSION_TICKET.
    package static func connect() -> RemoteManagement? {
        guard let server = getenv("BITFUSION_SERVER"), let endpoint = Endpoint(String(cString: server)),
            let text = getenv("BITFUSION_TICKET"), let ticket = Hello.ticket(hexadecimal: String(cString: text))
        else { return nil }
        return RemoteManagement(endpoint, ticket: ticket)
    }

    /// Nil when the server does not accept the ticket, or is not there.
    package init?(_ endpoint: Endpoint, ticket: [UInt8]) {
        self.endpoint = endpoint
        self.ticket = ticket
        guard open() != nil else { return nil }
    }

    package func answer(_ question: ManagementQuestion) -> ManagementAnswer {
        if question.call.isConstant, let answer = known[question] { return answer }
        // A question changes nothing, so that it may be put again on a new connection.
        guard let answer = roundTrip(question) ?? roundTrip(question) else {
            return ManagementAnswer(NVMLCode.gpuIsLost)
        }
        if question.call.isConstant, answer.status == NVMLCode.success, known.count < RemoteManagement.knownMax {
            known[question] = answer
        }
        return answer
    }

    /// Connects, unless this process is connected.
    private func open() -> Connection? {
        if let connection, owner == getpid() { return connection }
        connection = nil
        sequence = 0
        guard let made = try? Connection.connect(to: endpoint) else { return nil }
        let hello = Hello(ticket: ticket, processID: UInt32(getpid()), purpose: .management)
        made.setReadTimeout(seconds: RemoteManagement.helloSecondsMax)
        guard hello.bytes.withUnsafeBytes({ made.write($0) }),
            let header = read(HelloReply.headerByteCount, from: made),
            let (status, count) = try? HelloReply.header(header), status == .accepted,
            let body = read(count, from: made), body == HelloReply.managementBody
        else { return nil }
        made.setReadTimeout(seconds: RemoteManagement.answerSecondsMax)
        owner = getpid()
        connection = made
        return made
    }

    /// Nil when the connection broke, which is then forgotten.
    private func roundTrip(_ question: ManagementQuestion) -> ManagementAnswer? {
        let begin = calltrace_wait_begin()
        defer { calltrace_wait_end(begin) }
        guard let connection = open() else { return nil }
        self.connection = nil
        sequence += 1
        var payload = PayloadWriter()
        payload.write(text: question.call.rawValue)
        let header = FrameHeader(
            payloadByteCount: UInt32(payload.bytes.count + question.bytes.count), call: 0, flags: .wantsReply,
            sequence: sequence, context: 0)
        var frame = [UInt8](repeating: 0, count: FrameHeader.byteCount)
        frame.withUnsafeMutableBytes { if let start = $0.baseAddress { header.store(at: start) } }
        frame += payload.bytes + question.bytes
        guard frame.withUnsafeBytes({ connection.write($0) }),
            let head = read(ReplyHeader.byteCount, from: connection),
            let reply = head.withUnsafeBytes({ $0.baseAddress.map { ReplyHeader(at: $0) } }),
            reply.sequence == sequence, reply.payloadByteCount <= UInt32(ManagementLimits.answerBytesMax),
            let bytes = read(Int(reply.payloadByteCount), from: connection)
        else { return nil }
        self.connection = connection
        return ManagementAnswer(reply.status, bytes: bytes)
    }

    private func read(_ count: Int, from connection: Connection) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return bytes.withUnsafeMutableBytes { connection.readExactly($0) } ? bytes : nil
    }
}

// SPDX-License-Identifier: Apache-2.0
package import Management
package import Transport
import Wire

/// Serves one client of the management library on its connection: a question, an answer, until it closes.
package struct ManagementSession {
    private let connection: Connection
    private let source: any ManagementSource

    package init(_ connection: Connection, source: any ManagementSource) {
        self.connection = connection
        self.source = source
    }

    /// Returns why the connection ended; nil when the client closed it.
    package func run() -> String? {
        var sequence: UInt64 = 0
        while true {
            var header = [UInt8](repeating: 0, count: FrameHeader.byteCount)
            guard header.withUnsafeMutableBytes({ connection.readExactly($0) }) else { return nil }
            let frame = header.withUnsafeBytes { $0.baseAddress.map { FrameHeader(at: $0) } }
            sequence += 1
            guard let frame, frame.sequence == sequence else { return "a question came out of sequence" }
            let byteCount = Int(frame.payloadByteCount)
            guard byteCount <= ManagementLimits.questionBytesMax else {
                return "\(WireError.tooLong(byteCount, limit: ManagementLimits.questionBytesMax))"
            }
            var payload = [UInt8](repeating: 0, count: byteCount)
            guard payload.withUnsafeMutableBytes({ connection.readExactly($0) }) else {
                return "the connection ended in the middle of a question"
            }
            let answer = answer(payload)
            let reply = ReplyHeader(
                payloadByteCount: UInt32(answer.bytes.count), status: answer.status, sequence: sequence, kind: .reply)
            var bytes = [UInt8](repeating: 0, count: ReplyHeader.byteCount)
            bytes.withUnsafeMutableBytes { if let start = $0.baseAddress { reply.store(at: start) } }
            bytes += answer.bytes
            guard bytes.withUnsafeBytes({ connection.write($0) }) else { return "the client does not read its answers" }
        }
    }

    private func answer(_ payload: [UInt8]) -> ManagementAnswer {
        var reader = ValueReader(payload)
        do throws(MalformedQuestion) {
            let name = try reader.text()
            let arguments = try reader.bytes(payload.count - 4 - name.utf8.count)
            // A newer client may ask what this release does not know.
            guard let call = ManagementCall(rawValue: name) else {
                return ManagementAnswer(NVMLCode.functionNotFound)
            }
            return source.answer(ManagementQuestion(call, bytes: Array(arguments)))
        } catch {
            return ManagementAnswer(NVMLCode.invalidArgument)
        }
    }
}

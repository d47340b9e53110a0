// SPDX-License-Identifier: Apache-2.0
import Testing
import Wire

@Suite struct HelloTests {
    @Test func aHelloReadsBackAsItWasWritten() throws {
        let hello = Hello(ticket: Array(0..<32), processID: 4711, programName: "python")
        #expect(hello.bytes.count == Hello.byteCount)
        #expect(try Hello(bytes: hello.bytes) == hello)
    }

    @Test func aLongNameIsCutBetweenCharacters() throws {
        let hello = Hello(ticket: Array(0..<32), processID: 1, programName: "abcdefghijklm\u{e9}\u{e9}")
        #expect(hello.programName == "abcdefghijklm\u{e9}")
        #expect(try Hello(bytes: hello.bytes) == hello)
    }

    @Test func aNameThatIsNoTextHarmsNobody() throws {
        var bytes = Hello(ticket: Array(0..<32), processID: 1).bytes
        bytes.replaceSubrange(48..<64, with: [UInt8](repeating: 0xFF, count: 16))
        #expect(try Hello(bytes: bytes).programName.utf8.count < Hello.programNameByteCount)
        bytes.replaceSubrange(48..<52, with: [0x1B, 0x5B, 0x41, 0])
        #expect(try Hello(bytes: bytes).programName == "[A")
    }

    @Test func refusesAnotherMagic() {
        var bytes = Hello(ticket: Array(0..<32), processID: 1).bytes
        bytes[0] = 0x47
        #expect(throws: WireError.notThisProtocol) { try Hello(bytes: bytes) }
    }

    @Test func refusesAShortHello() {
        let bytes = Hello(ticket: Array(0..<32), processID: 1).bytes.dropLast()
        #expect(throws: WireError.notThisProtocol) { try Hello(bytes: Array(bytes)) }
    }

    @Test func aReplyTellsItsStatusAndLength() throws {
        let reply = HelloReply(refusal: .unknownTicket, sentence: "no such ticket")
        let (status, count) = try HelloReply.header(Array(reply.bytes.prefix(HelloReply.headerByteCount)))
        #expect(status == .unknownTicket)
        #expect(count == "no such ticket".utf8.count)
    }

    @Test func refusesAReplyThatAnnouncesTooMuch() {
        var bytes = HelloReply(refusal: .malformed, sentence: "").bytes
        bytes.replaceSubrange(12..<16, with: [0, 0, 0, 0x7F])
        #expect(throws: WireError.tooLong(0x7F00_0000, limit: HelloReply.bodyBytesMax)) { try HelloReply.header(bytes) }
    }
}

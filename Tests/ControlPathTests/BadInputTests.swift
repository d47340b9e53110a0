// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import ManagerClient
import Pool
import Testing

/// What nobody should say to the resource scheduler, and servers that are none.
@Suite struct BadInputTests {
    @Test(arguments: [
        "", " ", "hello", "{", "{}", "[]", "null", "{\"type\":\"list\"}", "{\"version\":\"1\",\"type\":\"list\"}",
        "{\"version\":2}", "{\"version\":2,\"type\":\"format\"}", "{\"version\":2,\"type\":\"release\"}",
        "{\"version\":1e400,\"type\":\"list\"}", "GET / HTTP/1.1", "\u{0}\u{1}\u{2}",
        "{\"version\":2,\"type\":\"allocate\"}", "{\"version\":2,\"type\":\"allocate\",\"gpus\":1}",
        "{\"version\":2,\"type\":\"allocate\",\"gpus\":0,\"wait_seconds\":0}",
        "{\"version\":2,\"type\":\"allocate\",\"gpus\":-1,\"wait_seconds\":0}",
        "{\"version\":2,\"type\":\"allocate\",\"gpus\":99999999999999999999,\"wait_seconds\":0}",
        "{\"version\":2,\"type\":\"allocate\",\"gpus\":1,\"mib\":0,\"wait_seconds\":0}",
        "{\"version\":2,\"type\":\"allocate\",\"gpus\":1,\"share\":1.5,\"wait_seconds\":0}",
        "{\"version\":2,\"type\":\"allocate\",\"gpus\":1,\"wait_seconds\":-1}",
        "{\"version\":2,\"type\":\"allocate\",\"gpus\":1,\"wait_seconds\":9223372036854775807}",
    ])
    func aLineThatIsNoRequestIsAnsweredAndEndsTheConnection(line: String) throws {
        let server = try TestServer()
        let connection = try server.raw()
        try connection.send(line: Array(line.utf8))
        let reply = try connection.reply()
        #expect(reply.type == .refused && reply.code == .malformed)
        #expect(reply.message?.isEmpty == false)
        #expect(connection.isClosed())
        withExtendedLifetime(server) {}
    }

    @Test func deeplyNestedTextIsRefused() throws {
        let server = try TestServer()
        let connection = try server.raw()
        try connection.send(line: [UInt8](repeating: UInt8(ascii: "["), count: 60_000))
        #expect(try connection.reply().code == .malformed)
        withExtendedLifetime(server) {}
    }

    @Test func anotherVersionIsRefusedWithBothNumbers() throws {
        let server = try TestServer()
        let connection = try server.raw()
        try connection.send(line: Array("{\"version\":3,\"type\":\"from the future\"}".utf8))
        let reply = try connection.reply()
        #expect(reply.code == .malformed)
        #expect(reply.message?.contains("3") == true && reply.message?.contains("2") == true)
        withExtendedLifetime(server) {}
    }

    @Test func anEndlessLineIsCutOff() throws {
        let server = try TestServer()
        let connection = try server.raw()
        try connection.send(line: [UInt8](repeating: UInt8(ascii: "a"), count: SchedulerRequest.lineBytesMax + 1))
        #expect(try connection.reply().message?.contains("\(SchedulerRequest.lineBytesMax)") == true)
        #expect(connection.isClosed())
        withExtendedLifetime(server) {}
    }

    @Test func whoSaysNothingIsSentAway() throws {
        let server = try TestServer()
        let connection = try server.raw()
        #expect(try connection.reply().type == .refused)
        #expect(connection.isClosed())
        withExtendedLifetime(server) {}
    }

    @Test func silentConnectionsKeepNobodyOut() throws {
        let server = try TestServer()
        let silent = try (0..<100).map { _ in try server.raw() }
        #expect(try server.ask(1).1.type == .granted)
        withExtendedLifetime(silent) {}
    }

    // MARK: Servers that are none

    @Test func aPortWhereNobodyListensIsNamed() throws {
        let (descriptor, port) = try boundSocket()
        close(descriptor)
        let failure = #expect(throws: SchedulerClient.Failure.self) {
            try SchedulerClient(ServerAddress(host: "127.0.0.1", port: port))
        }
        #expect(failure?.message.contains("127.0.0.1:\(port)") == true)
    }

    @Test func aServerThatSaysNothingIsGivenUp() throws {
        let (descriptor, port) = try boundSocket()
        listen(descriptor, 1)
        defer { close(descriptor) }
        let begin = ContinuousClock.now
        let failure = #expect(throws: SchedulerClient.Failure.self) {
            try SchedulerClient(ServerAddress(host: "127.0.0.1", port: port)).list()
        }
        #expect(failure?.message.contains("127.0.0.1:\(port)") == true)
        #expect(ContinuousClock.now - begin < .seconds(5))
    }

    @Test func aServerOfAnotherKindIsSeenThrough() throws {
        let (descriptor, port) = try boundSocket()
        listen(descriptor, 1)
        let thread = Thread {
            let connection = LineConnection(adopting: accept(descriptor, nil, nil))
            try? connection.send(line: Array("220 mail.example ESMTP".utf8))
            connection.finish(milliseconds: 1_000)
            close(descriptor)
        }
        thread.start()
        let failure = #expect(throws: SchedulerClient.Failure.self) {
            try SchedulerClient(ServerAddress(host: "127.0.0.1", port: port)).list()
        }
        #expect(failure?.message.contains("127.0.0.1:\(port)") == true)
    }

    @Test func aHostThatDoesNotExistIsNamed() {
        let failure = #expect(throws: SchedulerClient.Failure.self) {
            try SchedulerClient(ServerAddress(host: "no-such-host.invalid"))
        }
        #expect(failure?.message.contains("no-such-host.invalid") == true)
    }

    private func boundSocket() throws -> (descriptor: Int32, port: UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) | getsockname(descriptor, $0, &length)
            }
        }
        try #require(code == 0)
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }
}

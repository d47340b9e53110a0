// SPDX-License-Identifier: Apache-2.0
import Foundation
import ManagerClient
import Pool
import Testing

@Suite struct ServerListTests {
    @Test(arguments: [
        ("172.31.51.20", "172.31.51.20:56001"),
        ("172.31.51.26:56003", "172.31.51.26:56003"),
        ("172.31.51.42 56003", "172.31.51.42:56003"),
        ("172.31.51.42\t56003", "172.31.51.42:56003"),
        ("gpu-1.example.org", "gpu-1.example.org:56001"),
        ("gpu-1:1", "gpu-1:1"),
        ("::1", "[::1]:56001"),
        ("[::1]", "[::1]:56001"),
        ("[fe80::1]:56003", "[fe80::1]:56003"),
        ("[::1] 56003", "[::1]:56003"),
    ])
    func readsAnAddress(text: String, expected: String) {
        #expect(ServerAddress(text)?.description == expected)
    }

    @Test(arguments: [
        "", " ", ":56001", "host:", "host:0", "host:65536", "host:-1", "host:x", "host 56001 more", "host:1 2", "[::1",
        "[::1]56001", "[::1]:", "[]:1", "servers:", "a@b", "gpu/1", "a:b:c", "1::2::3",
    ])
    func refusesWhatIsNoAddress(text: String) {
        #expect(ServerAddress(text) == nil)
    }

    /// CFG-04, CFG-06, CFG-07: the three forms and the default port.
    @Test func resolvesTheConfigurationOfTheGuide() throws {
        let text = "172.31.51.20\n172.31.51.26:56003\n172.31.51.42 56003\n"
        #expect(
            try ServerList.parse(file: text, path: "servers.conf").map(\.preferred.description)
                == ["172.31.51.20:56001", "172.31.51.26:56003", "172.31.51.42:56003"])
    }

    @Test func skipsCommentsAndBlankLines() throws {
        let text = "# the pool\n\n  \t\n10.0.0.1 # the first\r\n10.0.0.2"
        #expect(
            try ServerList.parse(file: text, path: "servers.conf").map(\.preferred.host) == ["10.0.0.1", "10.0.0.2"])
    }

    @Test func aWrongLineIsNamed() {
        let failure = #expect(throws: ServerList.Failure.self) {
            try ServerList.parse(file: "10.0.0.1\n10.0.0.2:no\n", path: "/etc/servers.conf")
        }
        #expect(failure?.message.contains("/etc/servers.conf line 2") == true)
        #expect(failure?.kind == .malformed)
    }

    @Test func aFileWithoutServersIsAFailureThatNamesIt() {
        let failure = #expect(throws: ServerList.Failure.self) {
            try ServerList.parse(file: "# nothing\n", path: "/etc/servers.conf")
        }
        #expect(failure?.message.contains("/etc/servers.conf") == true)
    }

    /// CLI-41, CLI-42.
    @Test(arguments: ["10.0.0.1:1;10.0.0.2", "10.0.0.1:1,10.0.0.2", "10.0.0.1:1; 10.0.0.2;", ";10.0.0.1:1,,10.0.0.2"])
    func readsAListOfTheCommandLine(text: String) throws {
        #expect(try ServerList.parse(list: text).map(\.preferred.description) == ["10.0.0.1:1", "10.0.0.2:56001"])
    }

    @Test(arguments: ["", ";", "10.0.0.1:99999", "a b c"])
    func refusesAWrongListOfTheCommandLine(text: String) {
        #expect(throws: ServerList.Failure.self) { try ServerList.parse(list: text) }
    }

    /// CFG-02, CLI-40, CLI-41.
    @Test func theListComesBeforeTheFileAndTheFileBeforeTheUsers() throws {
        let home = FileManager.default.temporaryDirectory.appending(path: "bitfusion-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: home) }
        let folder = home.appending(path: ".bitfusion")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data("users.example".utf8).write(to: folder.appending(path: "servers.conf"))
        let file = home.appending(path: "other.conf")
        try Data("files.example".utf8).write(to: file)
        func hosts(_ list: String?, _ file: String?) throws -> [String] {
            try ServerList.load(list: list, file: file, home: home.path()).resolve().map(\.host)
        }
        #expect(try hosts("lists.example", file.path()) == ["lists.example"])
        #expect(try hosts(nil, file.path()) == ["files.example"])
        #expect(try hosts(nil, nil) == ["users.example"])
    }

    @Test func aMissingFileIsNamed() {
        let failure = #expect(throws: ServerList.Failure.self) {
            try ServerList.load(list: nil, file: "/no/such/servers.conf", home: nil)
        }
        #expect(failure?.kind == .missing)
        #expect(failure?.message.contains("/no/such/servers.conf") == true)
    }
}

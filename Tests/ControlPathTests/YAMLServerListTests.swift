import Pool
import Synchronization
import Testing

// SPDX-License-Identifier: Apache-2.0
@testable import ManagerClient

/// The YAML form of servers.conf, and what becomes of servers with several addresses.
@Suite struct YAMLServerListTests {
    private func addresses(_ text: String) throws -> [[String]] {
        try ServerList.parse(file: text, path: "servers.conf").map { $0.addresses.map(\.description) }
    }

    /// CFG-04, B-14: the later form, as a client of the product wrote it.
    @Test func readsTheFormOfTheProduct() throws {
        let text = """
            servers:
            - reachable: 10.202.122.248:56001
              addresses:
              - 10.202.122.248:56001
            """
        #expect(try addresses(text) == [["10.202.122.248:56001"]])
    }

    @Test(arguments: [
        "# the pool\n\nservers:\n  - addresses: [10.0.0.1, 10.0.0.2]\n  - 10.0.0.3 # one\n",
        "---\nversion: 3\nservers:\n- name: a\n  addresses:\n  - 10.0.0.1:56001\n  - \"10.0.0.2\"\n- '10.0.0.3:56001'\n",
        "{servers: [{addresses: [10.0.0.1, 10.0.0.2], reachable: ''}, 10.0.0.3]}",
        "servers:\n- &a\n  addresses: [10.0.0.1, 10.0.0.2]\n  reachable:\n- 10.0.0.3\n",
    ])
    func readsWhatYAMLAllows(text: String) throws {
        #expect(try addresses(text) == [["10.0.0.1:56001", "10.0.0.2:56001"], ["10.0.0.3:56001"]])
    }

    @Test func theReachableAddressComesFirst() throws {
        let text = "servers:\n- addresses: [10.0.0.1, 10.0.0.2]\n  reachable: 10.0.0.2\n"
        #expect(try addresses(text) == [["10.0.0.2:56001", "10.0.0.1:56001"]])
    }

    @Test(arguments: [
        ("servers: 5\n", 1), ("servers:\n- {}\n", 2), ("servers:\n- addresses: []\n", 2), ("servers:\n- [a]\n", 2),
        ("servers:\n- 10.0.0.1\n- a b c\n", 3), ("servers:\n- addresses: 10.0.0.1\n", 2), ("---\nother: 1\n", 2),
        ("servers:\n- reachable: [1]\n", 2), ("servers:\n  - a\n - b\n", 3), ("servers: [\n", 2),
    ])
    func aWrongLineIsNamed(text: String, line: Int) {
        let failure = #expect(throws: ServerList.Failure.self) { try addresses(text) }
        #expect(failure?.message.contains("servers.conf line \(line):") == true, "\(failure?.message ?? "")")
        #expect(failure?.kind == .malformed)
    }

    /// Aliases that multiply cost nothing, because nobody follows them.
    @Test func aDocumentThatUnfoldsToBillionsIsReadAsItStands() {
        var text = "a0: &a0 [x]\n"
        for level in 1..<40 { text += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        #expect(throws: ServerList.Failure.self) { try addresses("---\n\(text)servers: *a39\n") }
        #expect(throws: ServerList.Failure.self) {
            try addresses("---\nservers: " + String(repeating: "[", count: 100_000))
        }
    }

    @Test func anEmptyListNamesTheFile() {
        #expect(throws: ServerList.Failure.self) { try addresses("servers: []\n") }
        #expect(throws: ServerList.Failure.self) { try addresses("---\n") }
    }

    // MARK: Resolving

    private static func list(_ entries: [[String]], isComplete: Bool = true) -> ServerList {
        ServerList(
            entries: entries.compactMap { ServerEntry($0.compactMap { ServerAddress($0) }) }, isComplete: isComplete)
    }

    /// B-14: the address that answers is found without writing anything down.
    @Test func theFirstAddressThatAnswersIsUsed() {
        let list = YAMLServerListTests.list([["a", "b", "c"], ["d"], ["e", "f"]])
        let asked = Mutex<Set<String>>([])
        let resolved = list.resolve { address in
            asked.withLock { _ = $0.insert(address.host) }
            return ["b", "c"].contains(address.host)
        }
        #expect(resolved.map(\.host) == ["b", "d", "e"])
        // Of a server with one address, its use will tell.
        #expect(asked.withLock { $0 } == ["a", "b", "c", "e", "f"])
    }

    /// CFG-01: what servers report joins the configured list, in memory.
    @Test func reportedServersJoinTheList() {
        let list = YAMLServerListTests.list([["a", "a2"], ["b"]])
        var directory = ServerDirectory(list.entries.map(\.preferred), of: list) { _ in [] }
        let new = directory.learn(["b", "c", "a2", "c:56001", "not an address", "c:1"])
        #expect(new.map(\.description) == ["c:56001", "c:1"])
        #expect(directory.servers.map(\.description) == ["a:56001", "b:56001", "c:56001", "c:1"])
        #expect(directory.learn(["a", "c"]) == [])
    }

    /// A server that is known by its name is not asked again by its number.
    @Test func aServerIsKnownByAllItsAddresses() {
        let list = YAMLServerListTests.list([["name"]])
        var directory = ServerDirectory(list.entries.map(\.preferred), of: list) { server in
            let isName = server.host == "name" || server.host == "alias"
            return [ServerAddress(host: isName ? "10.0.0.1" : server.host, port: server.port)]
        }
        let new = directory.learn(["10.0.0.1", "alias", "10.0.0.2", "10.0.0.1:7"])
        #expect(new.map(\.description) == ["10.0.0.2:56001", "10.0.0.1:7"])
    }

    /// CLI-39: a list that the user chose for one command stays a choice.
    @Test func aChosenListStaysAsItIs() {
        let list = YAMLServerListTests.list([["a"]], isComplete: false)
        var directory = ServerDirectory(list.entries.map(\.preferred), of: list) { _ in [] }
        #expect(directory.learn(["b"]) == [] && directory.servers.map(\.host) == ["a"])
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Health
import Pool
import Testing
import Threads

/// The checks HC-05 to HC-11, HC-13 to HC-16 and HC-18 to HC-29 on nodes in memory, and how checks are run.
@Suite struct HealthTests {
    /// Every check at its limits, on both sides of them.
    @Test(arguments: Case.all) func judges(_ example: Case) throws {
        let outcome = try #require(example.node.outcome(example.check))
        let expected: HealthStatus =
            switch example.expected {
            case .pass: .pass
            case .skipped: .skipped
            case .marginal, .missing: .marginal
            case .fatal: .fatal
            }
        #expect(outcome.status == expected, "\(outcome.detail)")
        #expect(outcome.detail.contains(example.words), "\(outcome.detail)")
        #expect(outcome.detail.contains("it cannot be told") == (example.expected == .missing), "\(outcome.detail)")
        #expect((outcome.remedy?.hasPrefix("make what this check reads") == true) == (example.expected == .missing))
        #expect((outcome.remedy != nil) == (outcome.status > .skipped))
        #expect(outcome.ts == 1_800_000_000 && outcome.enabled)
    }

    /// A check counts when it is shown in all four states.
    @Test func everyCheckHasItsFourFixtures() {
        let states = Dictionary(grouping: Case.all, by: \.check).mapValues { Set($0.map(\.expected)) }
        for check in HealthChecks.all where !["HC-01", "HC-02", "HC-03", "HC-04", "HC-12"].contains(check.id) {
            #expect(states[check.name]?.isSuperset(of: [.pass, .marginal, .fatal, .missing]) == true, "\(check.name)")
        }
        #expect(Set(states.keys).isSubset(of: HealthChecks.all.map(\.name)))
    }

    /// HC-01 to HC-04, HC-12: what a server by itself does not have is said to be skipped.
    @Test(arguments: ["store_buckets", "store_node_num", "store_status", "store_replication", "vcenter_check"])
    func skipsWhatAServerByItselfDoesNotHave(name: String) throws {
        let outcome = try #require(Node.server().outcome(name))
        #expect(outcome.status == .skipped && outcome.remedy == nil)
    }

    @Test func namesAreDifferentAndSortedByType() {
        #expect(Set(HealthChecks.all.map(\.name)).count == HealthChecks.all.count)
        let types = HealthChecks.all.map(\.type)
        #expect(types == HealthType.allCases.flatMap { type in types.filter { $0 == type } })
    }

    // MARK: Running

    private static func check(_ name: String, _ judge: @escaping @Sendable () -> Finding) -> HealthCheck {
        HealthCheck(nil, name, .stability, source: "", threshold: "", remedy: "") { _ in judge() }
    }

    @Test func aCheckThatHangsIsMarginalAndNotStartedAgain() {
        let runner = HealthRunner(checkMilliseconds: 50)
        let starts = Counter()
        let checks = [
            HealthTests.check("hangs") {
                _ = starts.increment(limit: 10)
                sleep(2)
                return Finding(.pass, "")
            },
            HealthTests.check("works") { Finding(.pass, "fine") },
        ]
        let began = Date()
        let first = runner.run(checks, on: Node.client().sources)
        #expect(first.map(\.status) == [.marginal, .pass])
        #expect(first[0].detail.contains("50 ms"))
        let second = runner.run(checks, on: Node.client().sources)
        #expect(second[0].detail.contains("an earlier run"))
        // The second of two would be the first here.
        #expect(starts.increment(limit: 2) && !starts.increment(limit: 2))
        #expect(Date().timeIntervalSince(began) < 1)
    }

    @Test func allChecksTogetherAreBounded() {
        let slow = (0..<10).map { number in
            HealthTests.check("slow \(number)") {
                usleep(60_000)
                return Finding(.pass, "")
            }
        }
        let outcomes = HealthRunner(allMilliseconds: 150).run(slow, on: Node.client().sources)
        #expect(outcomes.count == 10 && outcomes.first?.status == .pass && outcomes.last?.status == .marginal)
        #expect(outcomes.last?.detail.contains("all checks together") == true)
    }

    @Test func runsTheChecksOfTheNodesRole() {
        let client = HealthRunner().run(HealthChecks.all, on: Node.client().sources).map(\.name)
        let server = HealthRunner().run(HealthChecks.all, on: Node.server().sources).map(\.name)
        #expect(client.contains("servers_reachable") && !client.contains("ecc"))
        #expect(server.contains("ecc") && !server.contains("servers_reachable"))
    }

    // MARK: Reports

    @Test func theWorstEnabledCheckIsTheNodesStatus() {
        func report(_ statuses: [(HealthStatus, Bool)]) -> HealthStatus {
            HealthReport(
                hostname: "h", role: .client, version: "1",
                checks: statuses.map { status, isEnabled in
                    HealthOutcome(
                        name: "n", type: .stability, status: status, value: nil, threshold: nil, detail: "",
                        remedy: nil, enabled: isEnabled, ts: 0)
                }
            ).status
        }
        #expect(report([(.pass, true), (.marginal, true)]) == .marginal)
        #expect(report([(.pass, true), (.fatal, true), (.marginal, true)]) == .fatal)
        #expect(report([(.marginal, true), (.fatal, false)]) == .marginal)
        #expect(report([(.skipped, true)]) == .pass)
    }

    /// The one JSON form: every member is always there.
    @Test func outcomesHaveOneForm() throws {
        let outcome = try #require(Node.client().outcome("hostmem"))
        let json = try JSONSerialization.jsonObject(with: JSONEncoder().encode(outcome)) as? [String: Any]
        #expect(
            Set(json?.keys ?? [:].keys) == [
                "name", "type", "status", "value", "threshold", "detail", "remedy", "enabled", "ts",
            ])
        #expect(json?["remedy"] is NSNull)
        #expect(try JSONDecoder().decode(HealthOutcome.self, from: JSONEncoder().encode(outcome)) == outcome)
    }

    /// UI-40: status, type, name and details.
    @Test func printsOneLineForEachCheck() throws {
        let outcomes = try ["hostmem", "servers_reachable"].map {
            try #require(Node.client(.silent()).outcome($0))
        }
        let report = HealthReport(hostname: "node1", role: .client, version: "0.1.0", checks: outcomes)
        #expect(
            HealthText(report, node: "this node").lines == [
                "this node: node1, client, version 0.1.0",
                "  pass      Performance       hostmem            100.0 GiB of 128.0 GiB are available",
                "  fatal     Stability         servers_reachable  server 10.0.0.2:56001 is not reached",
                "            -> start `bitfusion manager` there, open its ports in the firewall, or take the server "
                    + "from the list",
                "  overall fatal: 1 fatal, 1 pass",
            ])
    }

    // MARK: This machine's sources

    @Test func readsFilesOfATree() throws {
        let root = FileManager.default.temporaryDirectory.appending(path: "health-\(UUID().uuidString)").path()
        defer { try? FileManager.default.removeItem(atPath: root) }
        try FileManager.default.createDirectory(atPath: root + "/sys/a", withIntermediateDirectories: true)
        try Data("up\n".utf8).write(to: URL(filePath: root + "/sys/a/state"))
        try FileManager.default.createSymbolicLink(atPath: root + "/sys/a/link", withDestinationPath: "../b")
        let files = SystemFiles(root: root)
        #expect(try files.bytes("/sys/a/state") == Array("up\n".utf8))
        #expect(try files.names(in: "/sys/a") == ["link", "state"])
        #expect(try files.target(of: "/sys/a/link") == "../b")
        #expect(try files.attributes(of: "/sys/a/state").byteCount == 3)
        let failure = #expect(throws: SourceFailure.self) { try files.bytes("/sys/a/none") }
        #expect(failure?.reason == "/sys/a/none: No such file or directory")
    }

    @Test func keepsCountersBetweenRuns() throws {
        let root = FileManager.default.temporaryDirectory.appending(path: "health-\(UUID().uuidString)").path()
        defer { try? FileManager.default.removeItem(atPath: root) }
        let first = CounterFile(folders: ["/proc/nowhere", root + "/cache"])
        #expect(try first.exchange(["a": 1], of: "x") == nil)
        #expect(try first.exchange(["b": 5], of: "y") == nil)
        let second = CounterFile(folders: [root + "/cache"])
        #expect(try second.exchange(["a": 3], of: "x") == ["a": 1])
        #expect(try second.exchange(["b": 5], of: "y") == ["b": 5])
        #expect(throws: SourceFailure.self) { try CounterFile(folders: ["/proc/nowhere"]).exchange([:], of: "x") }
        // What is no longer understood is begun anew.
        try Data("{".utf8).write(to: URL(filePath: root + "/cache/health-counters.json"))
        #expect(try second.exchange(["a": 4], of: "x") == nil)
    }

    @Test func opensLibraries() {
        #expect(LibraryReading(opening: "libc.so.6", symbols: ["printf"]).problem == nil)
        #expect(LibraryReading(opening: "libc.so.6", symbols: ["cuInit"]).problem == "it has no cuInit")
        #expect(LibraryReading(opening: "libnothing.so.7").problem?.contains("libnothing.so.7") == true)
    }

    @Test func readingsTravelAsJSON() throws {
        var readings = GPUReadings.healthy(2)
        readings.gpus[0].celsius = .code(3)
        #expect(try JSONDecoder().decode(GPUReadings.self, from: JSONEncoder().encode(readings)) == readings)
    }

    // MARK: The page

    /// docs/health.md has the table that the checks themselves are.
    @Test func theDocumentationIsThatOfTheChecks() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = try String(contentsOf: root.appending(path: "docs/health.md"), encoding: .utf8)
        let rows = Set(
            page.split(separator: "\n").filter { $0.hasPrefix("| HC-") || $0.hasPrefix("| - |") }.map(String.init))
        let expected = Set(HealthChecks.all.map(\.documentation))
        #expect(rows == expected, "write these rows: \n\(expected.subtracting(rows).sorted().joined(separator: "\n"))")
    }
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import ManagerClient
import Pool

/// What each server of a list answered, in the list's order.
struct ServerAnswers<Value: Sendable> {
    struct Answer: Sendable {
        let address: ServerAddress
        let result: Result<Value, SchedulerClient.Failure>

        var value: Value? { try? result.get() }

        var failure: String? {
            guard case .failure(let failure) = result else { return nil }
            return failure.message
        }
    }

    private(set) var answers: [Answer] = []

    /// Servers that report others, which report others: nobody needs more than this.
    private static var roundsMax: Int { 4 }

    /// Asks all servers at once, so that those that do not answer delay the command once; then those of which they
    /// have reported.
    init(
        of directory: ServerDirectory,
        _ question: @escaping @Sendable (SchedulerClient) throws(SchedulerClient.Failure) -> Value
    ) {
        var directory = directory
        var next = directory.servers
        for _ in 0..<ServerAnswers.roundsMax where !next.isEmpty {
            let asked = mapConcurrently(next) { address in
                do throws(SchedulerClient.Failure) {
                    let client = try SchedulerClient(address)
                    let value = try question(client)
                    return (Answer(address: address, result: .success(value)), client.reportedServers)
                } catch {
                    return (Answer(address: address, result: .failure(error)), [])
                }
            }
            answers += asked.map(\.0)
            next = directory.learn(asked.flatMap(\.1))
        }
    }

    /// Says on standard error which servers did not answer, and ends the command with the status for that.
    func reportFailures() throws {
        let failures = answers.compactMap(\.failure)
        for failure in failures { printError("bitfusion: \(failure)") }
        if !failures.isEmpty { throw ExitCode(Failure.Status.noServer.rawValue) }
    }
}

/// Asks all servers for their state and shows it: as JSON, or as `show` does.
func showStates(
    of options: ServerOptions, asJSON: Bool, _ show: ([ServerAnswers<ServerStatus>.Answer]) -> Void
) throws {
    try reporting {
        let answers = try ServerAnswers(of: options.servers()) { client throws(SchedulerClient.Failure) in
            try client.status()
        }
        if asJSON {
            try printJSON(["servers": answers.answers.map(StatedServer.init)])
        } else {
            show(answers.answers)
        }
        try answers.reportFailures()
    }
}

/// Prints a value as JSON for people and programs.
func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}

/// A server and its state, as `--json` prints it.
struct StatedServer: Encodable {
    let address: String
    let error: String?
    let status: ServerStatus?

    init(_ answer: ServerAnswers<ServerStatus>.Answer) {
        address = answer.address.description
        error = answer.failure
        status = answer.value
    }
}

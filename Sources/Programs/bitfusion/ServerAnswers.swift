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

    let answers: [Answer]

    /// Asks all servers at once, so that those that do not answer delay the command once.
    init(
        of servers: [ServerAddress],
        _ question: @escaping @Sendable (SchedulerClient) throws(SchedulerClient.Failure) -> Value
    ) {
        answers = mapConcurrently(servers) { address in
            do throws(SchedulerClient.Failure) {
                return Answer(address: address, result: .success(try question(SchedulerClient(address))))
            } catch {
                return Answer(address: address, result: .failure(error))
            }
        }
    }

    /// Says on standard error which servers did not answer, and ends the command with the status for that.
    func reportFailures() throws {
        let failures = answers.compactMap(\.failure)
        for failure in failures { printError("bitfusion: \(failure)") }
        if !failures.isEmpty { throw ExitCode(Failure.Status.noServer.rawValue) }
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

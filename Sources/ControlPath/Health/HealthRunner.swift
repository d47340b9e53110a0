// SPDX-License-Identifier: Apache-2.0
package import Pool
import Synchronization
import Threads

/// Runs checks one after the other, each on a thread of its own, which is left behind when it takes too long: a file
/// system or a driver that hangs must not hang a command or a daemon.
package final class HealthRunner: Sendable {
    /// One check has so long.
    package static let checkMilliseconds: Int64 = 2_000
    /// All have so long.
    package static let allMilliseconds: Int64 = 10_000

    /// Checks whose earlier run hangs, of which no further one is started.
    private let hanging = Mutex<Set<String>>([])
    private let checkMilliseconds: Int64
    private let allMilliseconds: Int64

    package init(
        checkMilliseconds: Int64 = HealthRunner.checkMilliseconds, allMilliseconds: Int64 = HealthRunner.allMilliseconds
    ) {
        self.checkMilliseconds = checkMilliseconds
        self.allMilliseconds = allMilliseconds
    }

    /// Runs those that the node's role has; `began` is when its sources began to be gathered, which counts too.
    package func run(
        _ checks: [HealthCheck], on sources: HealthSources, since began: Int64 = monotonicMilliseconds()
    ) -> [HealthOutcome] {
        let deadline = began + allMilliseconds
        return checks.filter { $0.roles.contains(sources.role) }.map { check in
            let left = deadline - monotonicMilliseconds()
            guard left > 0 else {
                return check.outcome(
                    .marginal("it was not run: all checks together took longer than \(allMilliseconds / 1000) s"),
                    at: sources.now)
            }
            return run(check, sources, milliseconds: min(left, checkMilliseconds))
        }
    }

    private func run(_ check: HealthCheck, _ sources: HealthSources, milliseconds: Int64) -> HealthOutcome {
        let isFree = hanging.withLock { $0.insert(check.name).inserted }
        guard isFree else {
            return check.outcome(.marginal("it was not run: an earlier run of it has not ended yet"), at: sources.now)
        }
        do throws(SourceFailure) {
            return try bounded(milliseconds: milliseconds) { [self] in
                defer { hanging.withLock { _ = $0.remove(check.name) } }
                return check.outcome(sources)
            }
        } catch {
            return check.outcome(.marginal("it was not ended: \(error.reason)"), at: sources.now)
        }
    }
}

/// Does something that may hang on a thread of its own, which is left behind when it takes too long.
package func bounded<Value: Sendable>(
    milliseconds: Int64, _ body: @escaping @Sendable () -> Value
) throws(SourceFailure) -> Value {
    let result = Watched<Value?>(nil)
    let isStarted = startThread {
        let value = body()
        result.withLock { $0 = value }
    }
    guard isStarted else { throw SourceFailure("this process can start no more threads") }
    guard let value = result.wait(milliseconds: milliseconds, until: { $0 }) else {
        throw SourceFailure("nothing came within \(milliseconds) ms")
    }
    return value
}

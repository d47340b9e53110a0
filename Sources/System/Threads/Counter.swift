// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Counts up to a limit.
package final class Counter: Sendable {
    private let count = Mutex(0)

    package init() {}

    package func increment(limit: Int) -> Bool {
        count.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
        }
    }

    package func decrement() { count.withLock { $0 -= 1 } }
}

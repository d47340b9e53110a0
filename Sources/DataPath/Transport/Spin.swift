// SPDX-License-Identifier: Apache-2.0
import Glibc

/// How long a reader polls before it sleeps: as long as that has been worth it.
///
/// Where a processor is free, what is waited for comes while it is polled for, in a tenth of the time of a wake-up.
/// Where none is, polling keeps the other side from running: after some vain attempts it is given up soon, and tried
/// again now and then.
struct Spin {
    private static let nanosecondsMin: UInt64 = 3_000
    /// One of so many waits is polled for in full whatever came before.
    private static let tryEvery: UInt64 = 16

    private var limit = Connection.spinNanoseconds
    private var waits: UInt64 = 0

    /// Looks until something is found, and returns it; nil when it is time to sleep.
    mutating func poll<Found>(_ look: () -> Found?) -> Found? {
        waits &+= 1
        let now = waits % Spin.tryEvery == 0 ? Connection.spinNanoseconds : limit
        if let found = look() { return found }
        let start = nanoseconds()
        repeat {
            for _ in 0..<16 {
                guard let found = look() else { continue }
                limit = Connection.spinNanoseconds
                return found
            }
        } while nanoseconds() - start < now
        limit = max(Spin.nanosecondsMin, limit / 2)
        return nil
    }
}

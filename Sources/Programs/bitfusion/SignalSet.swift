// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Signals that are taken one by one instead of interrupting the program.
struct SignalSet {
    private let set: sigset_t

    init(_ signals: [Int32]) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        self.set = set
    }

    /// Blocks them in this thread and those that it starts; returns what was blocked before.
    @discardableResult
    func block() -> sigset_t {
        var set = set
        var old = sigset_t()
        pthread_sigmask(SIG_BLOCK, &set, &old)
        return old
    }

    /// The next one; nil when none comes in so many milliseconds.
    func next(milliseconds: Int) -> siginfo_t? {
        var set = set
        var information = siginfo_t()
        var time = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
        return sigtimedwait(&set, &information, &time) > 0 ? information : nil
    }

    /// Waits for the next one.
    func wait() -> siginfo_t {
        while true {
            if let information = next(milliseconds: 3_600_000) { return information }
        }
    }
}

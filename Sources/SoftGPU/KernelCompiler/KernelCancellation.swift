// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import Synchronization

/// Ends launches early, for instance when their context is destroyed.
///
/// Blocks that have not started never do; those that run stop when a thread of theirs next waits for another. A loop
/// that waits for nothing is not interrupted.
package final class KernelCancellation: Sendable {
    private struct State: @unchecked Sendable {
        // SAFETY: a launch is in the list only while `KernelExecutor.run` holds it.
        var launches: [UnsafeMutablePointer<sg_launch>] = []
        var isCancelled = false
    }

    private let state = Mutex(State())

    package init() {}

    /// Ends the launches that run now, and every later one at once.
    package func cancel() {
        state.withLock { state in
            state.isCancelled = true
            for launch in state.launches { sg_launch_stop(launch, SG_CANCELLED.rawValue, 0) }
        }
    }

    func add(_ launch: UnsafeMutablePointer<sg_launch>) {
        state.withLock { state in
            state.launches.append(launch)
            if state.isCancelled { sg_launch_stop(launch, SG_CANCELLED.rawValue, 0) }
        }
    }

    func remove(_ launch: UnsafeMutablePointer<sg_launch>) {
        state.withLock { state in state.launches.removeAll { $0 == launch } }
    }
}

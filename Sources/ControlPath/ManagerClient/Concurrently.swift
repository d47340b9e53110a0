// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// The most threads that ask servers at once; each waits for an answer nearly all of its time.
private let threadsMax = 64

/// Applies a function that may block to every element, many at once; results are in the order of the elements.
///
/// Where the system has no more threads, those that there are do it all.
package func mapConcurrently<Element: Sendable, Result: Sendable>(
    _ elements: [Element], _ body: @escaping @Sendable (Element) -> Result
) -> [Result] {
    let next = Atomic(0)
    let results = Mutex([Result?](repeating: nil, count: elements.count))
    withThreads(min(threadsMax, elements.count)) {
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard index < elements.count else { return }
            let result = body(elements[index])
            results.withLock { $0[index] = result }
        }
    }
    return results.withLock { $0.compactMap { $0 } }
}

/// Runs a body on so many threads, the calling one among them, and returns when all have ended.
private func withThreads(_ count: Int, _ body: @Sendable () -> Void) {
    final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    withoutActuallyEscaping(body) { body in
        var threads: [pthread_t] = []
        for _ in 1..<max(1, count) {
            let retained = Unmanaged.passRetained(Body(body))
            var thread = pthread_t()
            let code = pthread_create(
                &thread, nil,
                { pointer in
                    // SAFETY: balances the retain of the thread's start.
                    if let pointer { Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run() }
                    return nil
                }, retained.toOpaque())
            guard code == 0 else {
                retained.release()
                break
            }
            threads.append(thread)
        }
        body()
        for thread in threads { pthread_join(thread, nil) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Runs a body on a detached thread of its own, which takes no signals: they are for the thread that waits for them.
///
/// False when the system has none left.
@discardableResult
package func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
    final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let retained = Unmanaged.passRetained(Body(body))
    var all = sigset_t()
    var old = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_BLOCK, &all, &old)
    defer { pthread_sigmask(SIG_SETMASK, &old, nil) }
    var thread = pthread_t()
    let code = pthread_create(
        &thread, &attributes,
        { pointer in
            guard let pointer else { return nil }
            // SAFETY: balances the retain above; the thread runs once.
            Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run()
            return nil
        }, retained.toOpaque())
    if code != 0 { retained.release() }
    return code == 0
}

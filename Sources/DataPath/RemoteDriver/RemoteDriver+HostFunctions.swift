// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Glibc
import Synchronization
import Wire

/// Host functions that streams of the server will want called.
struct HostFunctions {
    var nextNumber: UInt64 = 1
    var functions: [UInt64: @Sendable () -> Void] = [:]
    var hasCaller = false
    /// The thread that calls them.
    var caller: pthread_t?
}

extension RemoteDriver {
    /// The server's stream stops at the function; this process calls it on a thread of its own and says when it
    /// returned.
    package func cuLaunchHostFunc(
        _ context: ContextHandle, stream hStream: StreamHandle, function: @escaping @Sendable () -> Void
    ) throws(CUDAError) {
        let (number, needsCaller) = hostFunctions.withLock { state in
            let number = state.nextNumber
            state.nextNumber += 1
            state.functions[number] = function
            defer { state.hasCaller = true }
            return (number, !state.hasCaller)
        }
        if needsCaller {
            let retained = Unmanaged.passRetained(self)
            let isStarted = startThread(retained.toOpaque()) { pointer in
                // SAFETY: balances the retain above.
                Unmanaged<RemoteDriver>.fromOpaque(pointer).takeRetainedValue().callHostFunctions()
            }
            guard isStarted else {
                retained.release()
                hostFunctions.withLock {
                    $0.hasCaller = false
                    $0.functions[number] = nil
                }
                throw .outOfMemory
            }
        }
        // Counted before it can return.
        hostFunctionsDue.add(1, ordering: .relaxed)
        do throws(CUDAError) {
            try post(.cuLaunchHostFunc, context, byteCount: 16) { frame in
                frame.write(hStream.bits)
                frame.write(number)
            }
        } catch {
            hostFunctions.withLock { $0.functions[number] = nil }
            hostFunctionReturned()
            throw error
        }
    }

    /// Calls that may be on their way behind a host function.
    ///
    /// A driver has room for about a thousand works in a stream, and waits for more: in the worker that would stop the
    /// thread that has to hear of the function's return.
    private static var postedBehindHostFunctionsMax: Int { 512 }

    /// Waits until the host functions have returned, once many calls have been posted behind them.
    func waitForRoomBehindHostFunctions() {
        let posted = postedBehindHostFunctions.add(1, ordering: .relaxed).newValue
        guard posted > Self.postedBehindHostFunctionsMax else { return }
        // The functions' own thread must not wait for itself.
        let isCaller = hostFunctions.withLock { $0.caller.map { pthread_equal($0, pthread_self()) != 0 } ?? false }
        if isCaller { return }
        while hostFunctionsDue.load(ordering: .acquiring) > 0 { usleep(20) }
    }

    private func hostFunctionReturned() {
        // Whoever posts meanwhile counts from there on.
        if hostFunctionsDue.subtract(1, ordering: .releasing).newValue == 0 {
            postedBehindHostFunctions.store(0, ordering: .relaxed)
        }
    }

    private func callHostFunctions() {
        hostFunctions.withLock { $0.caller = pthread_self() }
        // Without a connection no function returns, and nobody may wait for one.
        defer { hostFunctionsDue.store(0, ordering: .releasing) }
        while let number = replies.nextHostFunction() {
            let function = hostFunctions.withLock { $0.functions.removeValue(forKey: number) }
            function?()
            do throws(CUDAError) {
                try stream.append(
                    0, flags: .hostFunctionReturned, context: 0, byteCount: 8, waits: true, register: { _ in }
                ) { $0.write(number) }
            } catch { return }
            hostFunctionReturned()
        }
    }
}

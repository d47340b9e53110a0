// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Synchronization
import Wire

/// Host functions that streams of the server will want called.
struct HostFunctions {
    var nextNumber: UInt64 = 1
    var functions: [UInt64: @Sendable () -> Void] = [:]
    var hasCaller = false
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
        try post(.cuLaunchHostFunc, context, byteCount: 16) { frame in
            frame.write(hStream.bits)
            frame.write(number)
        }
    }

    private func callHostFunctions() {
        while let number = replies.nextHostFunction() {
            let function = hostFunctions.withLock { $0.functions.removeValue(forKey: number) }
            function?()
            do throws(CUDAError) {
                try stream.append(
                    0, flags: .hostFunctionReturned, context: 0, byteCount: 8, waits: true, register: { _ in }
                ) { $0.write(number) }
            } catch { return }
        }
    }
}

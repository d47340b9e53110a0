// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Glibc
import Synchronization
import Wire

/// Host functions that streams of the server will want called.
struct HostFunctions {
    /// A stream that stands at a host function or will.
    struct Standing {
        var due = 0
        /// Calls posted behind the first of them.
        var posted = 0
    }

    var nextNumber: UInt64 = 1
    var functions: [UInt64: (stream: StreamHandle, call: @Sendable () -> Void)] = [:]
    var hasCaller = false
    /// The thread that calls them.
    var caller: pthread_t?
    var standing: [StreamHandle: Standing] = [:]
    /// Calls posted to other streams since a call last waited there.
    var postedElsewhere = 0

    mutating func add(_ stream: StreamHandle, _ call: @escaping @Sendable () -> Void) -> UInt64 {
        defer { nextNumber += 1 }
        functions[nextNumber] = (stream, call)
        standing[stream, default: Standing()].due += 1
        return nextNumber
    }

    /// A function has returned, or will never be called.
    mutating func remove(_ number: UInt64, _ stream: StreamHandle) {
        functions[number] = nil
        standing[stream]?.due -= 1
        if standing[stream]?.due == 0 { standing[stream] = nil }
    }
}

extension RemoteDriver {
    /// The server's stream stops at the function; this process calls it on a thread of its own and says when it
    /// returned.
    package func cuLaunchHostFunc(
        _ context: ContextHandle, stream hStream: StreamHandle, function: @escaping @Sendable () -> Void
    ) throws(CUDAError) {
        let (number, needsCaller) = hostFunctions.withLock { state in
            let number = state.add(hStream, function)
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
                hostFunctions.withLock { state in
                    state.hasCaller = false
                    state.remove(number, hStream)
                }
                throw .outOfMemory
            }
        }
        // Counted before it can return.
        replies.hostFunctionWillBeDue()
        do throws(CUDAError) {
            try post(.cuLaunchHostFunc, context, byteCount: 16) { frame in
                frame.write(hStream.bits)
                frame.write(number)
            }
        } catch {
            hostFunctionReturned(number, hStream)
            throw error
        }
    }

    /// Calls that may be on their way behind a host function.
    ///
    /// A driver has room for about a thousand works in a stream, and waits for more: in the worker that would stop the
    /// thread that has to hear of the function's return.
    private static var postedMax: Int { 512 }
    /// How long calls on other streams wait, which may depend on one that stands at a host function or may be what the
    /// function waits for.
    private static var elsewhereMilliseconds: Int { 1000 }

    /// Waits while a host function has not returned behind which many calls have been posted.
    func waitForRoom(in stream: StreamHandle) {
        enum Room { case enough, waitsForStream, waitsForAll }
        let room = hostFunctions.withLock { state -> Room in
            // The functions' own thread must not wait for itself.
            if let caller = state.caller, pthread_equal(caller, pthread_self()) != 0 { return .enough }
            if state.standing[stream] != nil {
                state.standing[stream]?.posted += 1
                return state.standing[stream]?.posted ?? 0 > Self.postedMax ? .waitsForStream : .enough
            }
            state.postedElsewhere += 1
            guard state.postedElsewhere > Self.postedMax else { return .enough }
            state.postedElsewhere = 0
            return .waitsForAll
        }
        switch room {
        case .enough: break
        case .waitsForStream:
            while hostFunctions.withLock({ $0.standing[stream]?.posted ?? 0 > Self.postedMax }) { usleep(20) }
        case .waitsForAll:
            for _ in 0..<Self.elsewhereMilliseconds * 20
            where replies.enqueuedHostFunctions.load(ordering: .relaxed) > 0 {
                usleep(50)
            }
        }
    }

    private func hostFunctionReturned(_ number: UInt64, _ stream: StreamHandle) {
        hostFunctions.withLock { $0.remove(number, stream) }
        replies.hostFunctionReturned()
    }

    private func callHostFunctions() {
        hostFunctions.withLock { $0.caller = pthread_self() }
        // Without a connection no function returns, and nobody may wait for one.
        defer { hostFunctions.withLock { $0.standing = [:] } }
        while let number = replies.nextHostFunction() {
            let function = hostFunctions.withLock { $0.functions[number] }
            function?.call()
            do throws(CUDAError) {
                try stream.append(
                    0, flags: .hostFunctionReturned, context: 0, byteCount: 8, waits: true, register: { _ in }
                ) { $0.write(number) }
            } catch { return }
            if let function { hostFunctionReturned(number, function.stream) }
        }
    }
}

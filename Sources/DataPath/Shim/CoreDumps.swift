// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// The process's settings, and who wants to know when dumps begin and end.
final class CoreDumps: Sendable {
    enum Moment { case start, complete }

    private struct State {
        var settings = CoreDumpSettings.ofProcess()
        var callbacks: [(number: UInt, moment: Moment)] = []
        var lastCallback: UInt = 0
    }

    private let state = Mutex(State())

    static let shared = CoreDumps()
    /// Callbacks of one process; more are a loop that forgets to deregister.
    private static let callbacksMax = 1024

    var settings: CoreDumpSettings { state.withLock { $0.settings } }

    func change(_ body: (inout CoreDumpSettings) throws(CUDAError) -> Void) throws(CUDAError) {
        try state.withLock { state throws(CUDAError) in try body(&state.settings) }
    }

    /// Notes a callback.
    ///
    /// It is never called, because no dump begins.
    func register(_ moment: Moment) throws(CUDAError) -> UInt {
        try state.withLock { state throws(CUDAError) in
            guard state.callbacks.count < Self.callbacksMax else { throw .outOfMemory }
            state.lastCallback += 1
            state.callbacks.append((state.lastCallback, moment))
            return state.lastCallback
        }
    }

    func deregister(_ number: UInt, _ moment: Moment) throws(CUDAError) {
        try state.withLock { state throws(CUDAError) in
            let index = state.callbacks.firstIndex { $0.number == number && $0.moment == moment }
            guard let index else { throw .invalidValue }
            state.callbacks.remove(at: index)
        }
    }
}

extension Entry {
    func cuCoredumpGetAttributeGlobal(
        _ attrib: CUcoredumpSettings, _ value: UnsafeMutableRawPointer?, _ size: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        try CoreDumps.shared.settings.get(attrib, value, size)
    }

    func cuCoredumpSetAttributeGlobal(
        _ attrib: CUcoredumpSettings, _ value: UnsafeMutableRawPointer?, _ size: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        try CoreDumps.shared.change { settings throws(CUDAError) in try settings.set(attrib, value, size) }
    }

    func cuCoredumpRegisterStartCallback(
        _ callback: CUcoredumpStatusCallback?, _ userData: UnsafeMutableRawPointer?,
        _ callbackOut: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        try register(callback, .start, callbackOut)
    }

    func cuCoredumpRegisterCompleteCallback(
        _ callback: CUcoredumpStatusCallback?, _ userData: UnsafeMutableRawPointer?,
        _ callbackOut: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        try register(callback, .complete, callbackOut)
    }

    private func register(
        _ callback: CUcoredumpStatusCallback?, _ moment: CoreDumps.Moment,
        _ callbackOut: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        guard callback != nil else { throw .invalidValue }
        callbackOut?.pointee = OpaquePointer(bitPattern: try CoreDumps.shared.register(moment))
    }

    func cuCoredumpDeregisterStartCallback(_ callback: OpaquePointer?) throws(CUDAError) {
        try CoreDumps.shared.deregister(UInt(bitPattern: callback), .start)
    }

    func cuCoredumpDeregisterCompleteCallback(_ callback: OpaquePointer?) throws(CUDAError) {
        try CoreDumps.shared.deregister(UInt(bitPattern: callback), .complete)
    }
}

extension Shim {
    func cuCoredumpGetAttribute(
        _ attrib: CUcoredumpSettings, _ value: UnsafeMutableRawPointer?, _ size: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let own = try activeContext().context.settings.withLock { $0.coreDumps }
        try (own ?? CoreDumps.shared.settings).get(attrib, value, size)
    }

    /// From the first change on, a context has settings of its own.
    func cuCoredumpSetAttribute(
        _ attrib: CUcoredumpSettings, _ value: UnsafeMutableRawPointer?, _ size: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let context = try activeContext().context
        try context.settings.withLock { settings throws(CUDAError) in
            var own = settings.coreDumps ?? CoreDumps.shared.settings
            try own.set(attrib, value, size)
            settings.coreDumps = own
        }
    }
}

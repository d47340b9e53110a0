// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Values that runtimes keep per context.
///
/// A runtime looks its own up in every call, so this is only a table in memory.
final class ContextLocalStorage: Sendable {
    /// Called with the context, the key and the value when the context ends underneath the runtime.
    typealias Destructor = @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Void

    private struct Key: Hashable {
        let context: UInt64
        let key: UInt
    }

    private struct Entry {
        let value: UInt
        let destructor: Destructor?
        /// Entries end in the order in which they came.
        let order: UInt64
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        var puts: UInt64 = 0
    }

    private let state = Mutex(State())

    /// More entries than any process has runtimes and contexts.
    private static let countMax = 1 << 20

    func put(_ context: Context, _ key: UInt, value: UInt, destructor: Destructor?) throws(CUDAError) {
        try state.withLock { state throws(CUDAError) in
            guard state.entries.count < Self.countMax else { throw .outOfMemory }
            state.puts += 1
            state.entries[Key(context: context.bits, key: key)] = Entry(
                value: value, destructor: destructor, order: state.puts)
        }
    }

    func get(_ context: Context, _ key: UInt) -> UInt? {
        state.withLock { $0.entries[Key(context: context.bits, key: key)]?.value }
    }

    /// Removes an entry without calling its destructor.
    ///
    /// False if there is none.
    func delete(_ context: Context, _ key: UInt) -> Bool {
        state.withLock { $0.entries.removeValue(forKey: Key(context: context.bits, key: key)) != nil }
    }

    /// Ends the entries of a context that ended: removes them all, then calls their destructors on this thread.
    func end(_ context: Context) {
        let ended = state.withLock { state in
            let ended = state.entries.filter { $0.key.context == context.bits }.sorted {
                $0.value.order < $1.value.order
            }
            for (key, _) in ended { state.entries[key] = nil }
            return ended
        }
        for (key, entry) in ended {
            entry.destructor?(
                OpaquePointer(bitPattern: UInt(key.context)), UnsafeMutableRawPointer(bitPattern: key.key),
                UnsafeMutableRawPointer(bitPattern: entry.value))
        }
    }
}

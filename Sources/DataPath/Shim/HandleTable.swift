// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization

/// What a handle stands for.
///
/// The number is part of the handle's bits.
enum HandleClass: UInt64 {
    case context = 1
    case module, function, library, kernel, stream, event, pool, link
    case graph, graphNode, executableGraph, userObject, physicalMemory
    case array, mipmappedArray
    case greenContext, resourceDescriptor, notification
    case textureReference, surfaceReference
}

/// Objects of one class behind numbers that an application can only pass back.
///
/// A handle is `class << 43 | generation << 28 | index + 1 << 4`: never 0, never one of CUDA's special small handles,
/// and, through the generation, never the handle of an earlier object in the same place. Any 64 bits may be looked up.
final class HandleTable<Object: AnyObject & Sendable>: Sendable {
    private struct Slot {
        var object: Object?
        var generation: UInt64 = 0
    }

    private struct State {
        var slots: [Slot] = []
        var free: [Int] = []
    }

    private let handleClass: HandleClass
    private let state = Mutex(State())

    /// More objects of one class than any program makes; beyond it the answer is CUDA_ERROR_OUT_OF_MEMORY.
    private static var countMax: Int { 1 << 24 - 1 }
    private static var generationMask: UInt64 { 0x7fff }

    init(_ handleClass: HandleClass) { self.handleClass = handleClass }

    static func handleClass(of bits: UInt64) -> HandleClass? { HandleClass(rawValue: bits >> 43) }

    /// Makes an object that knows its handle.
    func insert(_ make: (_ bits: UInt64) -> sending Object) throws(CUDAError) -> Object {
        try state.withLock { state throws(CUDAError) in
            let index: Int
            if let free = state.free.popLast() {
                index = free
            } else {
                guard state.slots.count < Self.countMax else { throw .outOfMemory }
                index = state.slots.count
                state.slots.append(Slot())
            }
            let bits = handleClass.rawValue << 43 | state.slots[index].generation << 28 | UInt64(index + 1) << 4
            let object = make(bits)
            state.slots[index].object = object
            return object
        }
    }

    /// The object behind a handle, or nil if the bits are not one of this table.
    @inline(__always)
    subscript(bits: UInt64) -> Object? {
        state.withLock { state in
            guard let index = index(bits, in: state) else { return nil }
            return state.slots[index].object
        }
    }

    /// Calls with the object behind a handle, without counting a reference to it: calls that must be fast use this.
    ///
    /// The table waits meanwhile, so the call must be short. Nil if the bits are not one of this table.
    @inline(__always)
    func with<Result>(
        _ bits: UInt64, _ body: (borrowing Object) throws(CUDAError) -> Result
    ) throws(CUDAError) -> Result? {
        var result: Result?
        try state.withLock { state throws(CUDAError) in
            guard let index = index(bits, in: state), let object = state.slots[index].object else { return }
            result = try body(object)
        }
        return result
    }

    /// The object behind a handle; CUDA_ERROR_INVALID_HANDLE without one.
    @inline(__always)
    func object(_ handle: OpaquePointer?) throws(CUDAError) -> Object {
        guard let object = self[bits(handle)] else { throw .invalidHandle }
        return object
    }

    /// Ends a handle.
    ///
    /// The object itself lives on for whoever still uses it.
    @discardableResult
    func remove(_ bits: UInt64) -> Object? {
        state.withLock { state in
            guard let index = index(bits, in: state), let object = state.slots[index].object else { return nil }
            Self.clear(index, in: &state)
            return object
        }
    }

    /// Ends the handles of all objects that fulfil a condition and returns these objects.
    func removeAll(where condition: (Object) -> Bool) -> [Object] {
        state.withLock { state in
            var removed: [Object] = []
            for index in state.slots.indices {
                guard let object = state.slots[index].object, condition(object) else { continue }
                removed.append(object)
                Self.clear(index, in: &state)
            }
            return removed
        }
    }

    /// Every object of the table.
    var all: [Object] { state.withLock { state in state.slots.compactMap(\.object) } }

    private static func clear(_ index: Int, in state: inout State) {
        state.slots[index].object = nil
        state.slots[index].generation = (state.slots[index].generation + 1) & generationMask
        state.free.append(index)
    }

    @inline(__always)
    private func index(_ bits: UInt64, in state: borrowing State) -> Int? {
        guard bits >> 43 == handleClass.rawValue, bits & 0xf == 0 else { return nil }
        let index = Int(bits >> 4 & 0xffffff) - 1
        guard index >= 0, index < state.slots.count, state.slots[index].generation == bits >> 28 & Self.generationMask
        else { return nil }
        return index
    }
}

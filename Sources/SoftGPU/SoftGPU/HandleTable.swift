// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization

/// The living objects of one kind by their handles.
///
/// A handle is kind (8 bits), generation (32 bits, never 0) and slot (24 bits), so that a handle of another kind, of
/// an ended object, or no handle at all is found out and never followed.
final class HandleTable<Object: AnyObject & Sendable>: Sendable {
    /// The kinds of handles, as they stand in the top 8 bits.
    enum Kind: UInt64 {
        case context = 1
        case module, function, stream, event, pool, graph, physicalMemory, array, mipmappedArray
        case greenContext, graphDraft
    }

    private struct Slot {
        var generation: UInt64 = 0
        var object: Object?
    }

    private struct Slots {
        var all: [Slot] = []
        var free: [Int] = []
    }

    /// 24 bits of slot.
    static var handlesMax: Int { 1 << 24 }

    private let kind: Kind
    private let slots = Mutex(Slots())

    init(_ kind: Kind) { self.kind = kind }

    /// Makes an object, which may remember its own handle, and keeps it until ``remove(_:)``.
    func insert(_ make: (UInt64) -> Object) throws(CUDAError) -> Object {
        let made = slots.withLock { slots -> Object? in
            let index: Int
            if let reused = slots.free.popLast() {
                index = reused
            } else {
                guard slots.all.count < Self.handlesMax else { return nil }
                index = slots.all.count
                slots.all.append(Slot())
            }
            // A generation fits 32 bits; 0 is left out so that a handle is never 0.
            let generation = max(1, (slots.all[index].generation + 1) & 0xffff_ffff)
            let object = make(kind.rawValue << 56 | generation << 24 | UInt64(index))
            slots.all[index] = Slot(generation: generation, object: object)
            return object
        }
        guard let made else { throw .outOfMemory }
        return made
    }

    subscript(bits: UInt64) -> Object? {
        let index = Int(bits & 0xff_ffff)
        let generation = bits >> 24 & 0xffff_ffff
        guard bits >> 56 == kind.rawValue else { return nil }
        return slots.withLock { slots in
            guard index < slots.all.count, slots.all[index].generation == generation else { return nil }
            return slots.all[index].object
        }
    }

    /// Ends a handle and returns its object, or nil when it has none.
    @discardableResult
    func remove(_ bits: UInt64) -> Object? {
        let index = Int(bits & 0xff_ffff)
        let generation = bits >> 24 & 0xffff_ffff
        guard bits >> 56 == kind.rawValue else { return nil }
        return slots.withLock { slots in
            guard index < slots.all.count, slots.all[index].generation == generation,
                let object = slots.all[index].object
            else { return nil }
            slots.all[index].object = nil
            slots.free.append(index)
            return object
        }
    }

    /// Ends all handles whose objects match, and returns the objects.
    @discardableResult
    func removeAll(where matches: (Object) -> Bool) -> [Object] {
        slots.withLock { slots in
            var removed: [Object] = []
            for index in slots.all.indices {
                guard let object = slots.all[index].object, matches(object) else { continue }
                slots.all[index].object = nil
                slots.free.append(index)
                removed.append(object)
            }
            return removed
        }
    }
}

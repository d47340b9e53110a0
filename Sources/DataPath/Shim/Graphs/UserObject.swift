// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Something of the application's that lives as long as graphs refer to it.
final class UserObject: @unchecked Sendable {
    // SAFETY: the pointer is only passed to the destructor, by whoever takes the last reference.
    let bits: UInt64
    private let pointer: UnsafeMutableRawPointer?
    private let destroy: CUhostFn
    private let references: Mutex<Int>

    init(bits: UInt64, pointer: UnsafeMutableRawPointer?, destroy: CUhostFn, references: Int) {
        self.bits = bits
        self.pointer = pointer
        self.destroy = destroy
        self.references = Mutex(references)
    }

    func retain(_ count: Int) throws(CUDAError) {
        let isAlive = references.withLock { references in
            guard references > 0, !references.addingReportingOverflow(count).overflow else { return false }
            references += count
            return true
        }
        guard isAlive else { throw .invalidValue }
    }

    /// Returns whether these were the last references; then ``callDestructor()`` is due.
    func release(_ count: Int) throws(CUDAError) -> Bool {
        let left: Int? = references.withLock { references in
            guard references >= count else { return nil }
            references -= count
            return references
        }
        guard let left else { throw .invalidValue }
        return left == 0
    }

    func callDestructor() { destroy(pointer) }
}

extension Shim {
    func cuUserObjectCreate(
        _ object_out: UnsafeMutablePointer<OpaquePointer?>?, _ ptr: UnsafeMutableRawPointer?, _ destroy: CUhostFn?,
        _ initialRefcount: UInt32, _ flags: UInt32
    ) throws(CUDAError) {
        guard object_out != nil, let destroy, initialRefcount > 0, initialRefcount <= Int32.max,
            flags == CU_USER_OBJECT_NO_DESTRUCTOR_SYNC.rawValue
        else { throw .invalidValue }
        nonisolated(unsafe) let pointer = ptr
        let object = try userObjects.insert { bits in
            UserObject(bits: bits, pointer: pointer, destroy: destroy, references: Int(initialRefcount))
        }
        try write(handle: object.bits, to: object_out)
    }

    func cuUserObjectRetain(_ object: OpaquePointer?, _ count: UInt32) throws(CUDAError) {
        guard count > 0, count <= Int32.max else { throw .invalidValue }
        try userObject(object).retain(Int(count))
    }

    func cuUserObjectRelease(_ object: OpaquePointer?, _ count: UInt32) throws(CUDAError) {
        guard count > 0, count <= Int32.max else { throw .invalidValue }
        try release(try userObject(object), Int(count))
    }

    /// The graph takes references of its own, or with CU_GRAPH_USER_OBJECT_MOVE the caller's.
    func cuGraphRetainUserObject(
        _ graph: OpaquePointer?, _ object: OpaquePointer?, _ count: UInt32, _ flags: UInt32
    ) throws(CUDAError) {
        guard count > 0, count <= Int32.max, flags <= CU_GRAPH_USER_OBJECT_MOVE.rawValue else { throw .invalidValue }
        let graph = try self.graph(graph)
        let object = try userObject(object)
        if flags == 0 { try object.retain(Int(count)) }
        graph.structure.withLock { structure in
            if let known = structure.userObjects.firstIndex(where: { $0.object === object }) {
                structure.userObjects[known].count += Int(count)
            } else {
                structure.userObjects.append((object, Int(count)))
            }
        }
    }

    func cuGraphReleaseUserObject(
        _ graph: OpaquePointer?, _ object: OpaquePointer?, _ count: UInt32
    ) throws(CUDAError) {
        let graph = try self.graph(graph)
        let object = try userObject(object)
        try graph.structure.withLock { structure throws(CUDAError) in
            guard count > 0, let known = structure.userObjects.firstIndex(where: { $0.object === object }),
                structure.userObjects[known].count >= Int(count)
            else { throw .invalidValue }
            structure.userObjects[known].count -= Int(count)
            if structure.userObjects[known].count == 0 { structure.userObjects.remove(at: known) }
        }
        try release(object, Int(count))
    }

    private func userObject(_ handle: OpaquePointer?) throws(CUDAError) -> UserObject {
        guard let object = userObjects[bits(handle)] else { throw .invalidValue }
        return object
    }

    private func release(_ object: UserObject, _ count: Int) throws(CUDAError) {
        guard try object.release(count) else { return }
        userObjects.remove(object.bits)
        object.callDestructor()
    }

    /// Takes a reference to each object for a copy of a graph.
    func retained(_ objects: [(object: UserObject, count: Int)]) -> [(object: UserObject, count: Int)] {
        objects.filter { object, _ in (try? object.retain(1)) != nil }.map { ($0.object, 1) }
    }

    /// Gives up the references of a graph that has ended.
    func release(_ objects: [(object: UserObject, count: Int)]) {
        // The graph owns these references: there cannot be too few.
        for (object, count) in objects { try? release(object, count) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization

/// One thing a stream does.
enum Work: Sendable {
    /// The packed parameters lie in the batch's parameter store.
    case kernel(Function, LaunchGeometry, parameterOffset: Int, parameterBytes: Int)
    /// A copy, a set or a host function; left out once the context has failed.
    case task(@Sendable () -> Void)
    /// Housekeeping, such as a free, that is done in any case.
    case housekeeping(@Sendable () -> Void)
    /// Notes the time for an event.
    case stamp(Timestamp)
    /// Goes on when another stream has come as far.
    case wait(StreamPosition)
    /// Goes on when memory has a value; left out once the context has failed.
    case waitForValue(AwaitedValue)
    /// Has been done; what it held is released.
    case done
}

extension Work {
    /// Whether it waits for something that has happened.
    var isReachedWait: Bool {
        switch self {
        case .wait(let position): position.isReached
        case .waitForValue(let value): value.isThere
        default: false
        }
    }
}

/// A point in a stream's work.
struct StreamPosition: Sendable {
    let stream: Stream
    let sequence: UInt64

    var isReached: Bool { stream.completedSequence >= sequence }
}

/// When an event happened, in nanoseconds of the monotonic clock; 0 while it has not.
final class Timestamp: Sendable {
    private let nanoseconds = Atomic<UInt64>(0)

    var value: UInt64 { nanoseconds.load(ordering: .acquiring) }

    func take() { nanoseconds.store(monotonicNanoseconds(), ordering: .releasing) }
}

/// Work in order, with the parameters of its kernels.
///
/// Its storage is used again and again.
struct WorkBatch: @unchecked Sendable {
    // SAFETY: a batch is owned by its stream's lock or by whoever drains the stream, never by both.
    private(set) var works: ContiguousArray<Work> = []
    private var parameters = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var parameterBytes = 0

    /// Alignment of each kernel's parameters, as kernels may load vectors from them.
    private static let parameterAlignment = 16
    /// Storage beyond this is given back when the batch is done.
    private static let parameterBytesKeptMax = 256 << 10

    var parameterBytesInUse: Int { parameterBytes }

    mutating func append(_ work: Work) { works.append(work) }

    mutating func append(_ function: Function, _ geometry: LaunchGeometry, _ source: UnsafeRawBufferPointer) {
        let offset = parameterBytes
        let needed = offset + (source.count + Self.parameterAlignment - 1) & ~(Self.parameterAlignment - 1)
        if needed > parameters.count { grow(to: needed) }
        if source.count > 0 {
            UnsafeMutableRawBufferPointer(rebasing: parameters[offset..<offset + source.count]).copyMemory(from: source)
        }
        parameterBytes = needed
        works.append(.kernel(function, geometry, parameterOffset: offset, parameterBytes: source.count))
    }

    /// The next work to do, which is no longer held by the batch.
    mutating func takeWork(at index: Int) -> Work {
        var work = Work.done
        swap(&work, &works[index])
        return work
    }

    func parameterBlock(at offset: Int, byteCount: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: parameters[offset..<offset + byteCount])
    }

    private mutating func grow(to byteCount: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(4096, byteCount * 2), alignment: Self.parameterAlignment)
        if parameterBytes > 0 {
            larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: parameters[..<parameterBytes]))
        }
        parameters.deallocate()
        parameters = larger
    }

    mutating func removeAll() {
        works.removeAll(keepingCapacity: true)
        parameterBytes = 0
        if parameters.count > Self.parameterBytesKeptMax { deallocate() }
    }

    /// Gives the parameter storage back; the batch can be used again.
    mutating func deallocate() {
        parameters.deallocate()
        parameters = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        parameterBytes = 0
    }
}

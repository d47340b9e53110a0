// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Managed memory: prefetches and discards in batches, and where memory is.
///
/// All ranges of a batch are checked before anything is done.
extension Shim {
    private struct ManagedPart {
        let allocation: Allocation
        let address: CUdeviceptr
        let byteCount: Int
    }

    func cuMemPrefetchBatchAsync(
        _ dptrs: UnsafeMutablePointer<CUdeviceptr>?, _ sizes: UnsafeMutablePointer<Int>?, _ count: Int,
        _ prefetchLocs: UnsafeMutablePointer<CUmemLocation>?, _ prefetchLocIdxs: UnsafeMutablePointer<Int>?,
        _ numPrefetchLocs: Int, _ flags: UInt64, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let stream = try managedBatchTarget(hStream, defaultStream)
        let parts = try parts(dptrs, sizes, count, flags)
        let places = try places(prefetchLocs, prefetchLocIdxs, numPrefetchLocs, over: count)
        for (part, place) in zip(parts, places) {
            try prefetch(part.address, part.byteCount, to: place, stream)
        }
    }

    func cuMemDiscardBatchAsync(
        _ dptrs: UnsafeMutablePointer<CUdeviceptr>?, _ sizes: UnsafeMutablePointer<Int>?, _ count: Int,
        _ flags: UInt64, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        _ = try managedBatchTarget(hStream, defaultStream)
        try discard(try parts(dptrs, sizes, count, flags))
    }

    func cuMemDiscardAndPrefetchBatchAsync(
        _ dptrs: UnsafeMutablePointer<CUdeviceptr>?, _ sizes: UnsafeMutablePointer<Int>?, _ count: Int,
        _ prefetchLocs: UnsafeMutablePointer<CUmemLocation>?, _ prefetchLocIdxs: UnsafeMutablePointer<Int>?,
        _ numPrefetchLocs: Int, _ flags: UInt64, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let stream = try managedBatchTarget(hStream, defaultStream)
        let parts = try parts(dptrs, sizes, count, flags)
        let places = try places(prefetchLocs, prefetchLocIdxs, numPrefetchLocs, over: count)
        try discard(parts)
        for (part, place) in zip(parts, places) {
            try prefetch(part.address, part.byteCount, to: place, stream)
        }
    }

    /// The stream of a batch, for work that cannot be captured.
    private func managedBatchTarget(
        _ hStream: OpaquePointer?, _ defaultStream: DefaultStream
    ) throws(CUDAError) -> StreamTarget {
        let target = try batchTarget(hStream, defaultStream)
        if let stream = target.capturing { try refuseCapture(of: stream) }
        return target
    }

    private func parts(
        _ addresses: UnsafeMutablePointer<CUdeviceptr>?, _ sizes: UnsafeMutablePointer<Int>?, _ count: Int,
        _ flags: UInt64
    ) throws(CUDAError) -> [ManagedPart] {
        guard let addresses, let sizes, count > 0, flags == 0 else { throw .invalidValue }
        var parts: [ManagedPart] = []
        for index in 0..<count {
            let allocation = try managed(addresses[index], sizes[index])
            parts.append(ManagedPart(allocation: allocation, address: addresses[index], byteCount: sizes[index]))
        }
        return parts
    }

    /// Where each range is to go, by the numbers of the older functions.
    private func places(
        _ locations: UnsafeMutablePointer<CUmemLocation>?, _ firsts: UnsafeMutablePointer<Int>?, _ entryCount: Int,
        over count: Int
    ) throws(CUDAError) -> [Int32] {
        var places: [Int32] = []
        for location in try Batch.spread(locations, firsts, entryCount, over: count) {
            let place = try device(of: location)
            if place != Self.hostDevice { _ = try device(place) }
            places.append(place)
        }
        return places
    }

    private func discard(_ parts: [ManagedPart]) throws(CUDAError) {
        // Where a device address is a pointer of this process there is nothing to fetch or send.
        for part in parts where part.allocation.deviceBase != 0 {
            shared.discard(UInt(part.address)..<UInt(part.address) + UInt(part.byteCount))
        }
    }

    // MARK: Where memory is

    /// How far apart places are looked at when the application leaves it open.
    private static var samplingBytes: Int { 64 << 10 }

    /// The place that most of the looked-at addresses of each region have.
    func cuMemGetLocationInfo(
        _ ptr: CUdeviceptr, _ size: Int, _ summaryGranularity: Int, _ samplingGranularity: Int,
        _ location_out: UnsafeMutablePointer<CUmemLocation>?
    ) throws(CUDAError) {
        guard let location_out, size > 0, (1...size).contains(summaryGranularity),
            (0...summaryGranularity).contains(samplingGranularity)
        else { throw .invalidValue }
        let step = samplingGranularity > 0 ? samplingGranularity : min(Self.samplingBytes, summaryGranularity)
        let allocation = memory.find(ptr)
        if let allocation {
            guard allocation.kind == .managed, allocation.contains(ptr, size) else { throw .invalidValue }
        } else {
            guard ptr != 0 else { throw .invalidValue }
        }
        for (index, start) in stride(from: 0, to: size, by: summaryGranularity).enumerated() {
            var counts: [Int32: Int] = [:]
            for offset in stride(from: start, to: min(size, start + summaryGranularity), by: step) {
                counts[place(of: ptr + CUdeviceptr(offset), in: allocation), default: 0] += 1
            }
            // The lower number where there are as many of several, so that the answer stays the same.
            let most = counts.max { ($0.value, -$0.key) < ($1.value, -$1.key) }?.key ?? MemoryAdvice.nowhere
            location_out[index] = CUmemLocation(type: locationType(most), id: max(0, most))
        }
    }

    /// By the numbers of the older functions: a device, the host, or nowhere.
    private func place(of address: CUdeviceptr, in allocation: Allocation?) -> Int32 {
        // Memory of the system's own allocator never leaves the host.
        guard let allocation else { return Self.hostDevice }
        guard allocation.deviceBase != 0 else { return allocation.device }
        switch shared.withRange(at: UInt(address), { $0.state(at: UInt(address)) }) {
        case .device: return allocation.device
        case .clean, .dirty: return Self.hostDevice
        case .untouched, nil: return MemoryAdvice.nowhere
        }
    }
}

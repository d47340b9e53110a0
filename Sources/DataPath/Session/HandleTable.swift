// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Wire

/// The client's numbers of one kind of handle, and the driver's handles behind them.
struct HandleTable<DriverHandle: Handle> {
    private var handles: [UInt64: DriverHandle] = [:]
    private let unknown: CUDAError
    // Calls come in runs on the same stream and context.
    private var lastNumber: UInt64 = 0
    private var lastHandle = DriverHandle(bits: 0)

    /// `unknown` is what CUDA answers to a handle of this kind that does not exist.
    init(unknown: CUDAError = .invalidHandle) { self.unknown = unknown }

    /// The driver's handle of a client's number.
    ///
    /// 0 stays 0: the default stream, or no handle.
    mutating func driverHandle(_ number: UInt64) throws(CUDAError) -> DriverHandle {
        if number == lastNumber { return lastHandle }
        if number == 0 { return DriverHandle(bits: 0) }
        guard let handle = handles[number] else { throw unknown }
        lastNumber = number
        lastHandle = handle
        return handle
    }

    mutating func insert(_ number: UInt64, _ handle: DriverHandle) throws(WireError) {
        guard number != 0, handles[number] == nil else { throw .handleInUse(number) }
        guard handles.count < Limits.handlesMax else { throw .tooManyHandles(limit: Limits.handlesMax) }
        handles[number] = handle
    }

    @discardableResult
    mutating func remove(_ number: UInt64) -> DriverHandle? {
        lastNumber = 0
        lastHandle = DriverHandle(bits: 0)
        return handles.removeValue(forKey: number)
    }

    var all: [UInt64: DriverHandle] { handles }
}

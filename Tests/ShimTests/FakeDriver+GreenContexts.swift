// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Four multiprocessors, in parts of two: resource 1 is all of them, 2 and 3 a half each.
extension FakeDriver {
    func cuDeviceGetDevResource(dev: Int32) throws(CUDAError) -> MultiprocessorResource {
        MultiprocessorResource(number: 1, count: 4, minPartition: 2, alignment: 2)
    }
    func cuGreenCtxGetDevResource(hCtx: GreenContextHandle) throws(CUDAError) -> MultiprocessorResource {
        MultiprocessorResource(number: 2, count: 2, minPartition: 2, alignment: 2)
    }
    func cuDevSmResourceSplitByCount(
        input: ResourceNumber, groups: UInt32, flags: UInt32, minCount: UInt32
    ) throws(CUDAError) -> MultiprocessorSplit {
        guard input == 1 else { throw .invalidValue }
        let halves = (2...3).map {
            MultiprocessorResource(number: ResourceNumber($0), count: 2, minPartition: 2, alignment: 2)
        }
        let taken = min(2, Int(groups))
        return MultiprocessorSplit(
            groups: Array(halves.prefix(taken)), remainder: taken == 1 ? halves[1] : nil)
    }
    func cuDevSmResourceSplit(
        input: ResourceNumber, groups: [MultiprocessorGroup], makesResult: Bool, flags: UInt32
    ) throws(CUDAError) -> MultiprocessorSplit {
        guard input == 1 else { throw .invalidValue }
        let counts = groups.map { $0.count == 0 ? 2 : $0.count }
        let made =
            makesResult
            ? counts.map { count in
                MultiprocessorResource(number: 2, count: count, minPartition: 2, alignment: 2)
            } : []
        return MultiprocessorSplit(groups: made, remainder: nil, counts: counts)
    }
    func cuDevResourceGenerateDesc(resources: [ResourceNumber]) throws(CUDAError) -> ResourceNumber {
        guard resources.allSatisfy({ 1...3 ~= $0 }) else { throw .invalidValue }
        return 7
    }
    func cuGreenCtxCreate(desc: UInt64, dev: Int32, flags: UInt32) throws(CUDAError) -> GreenContextHandle {
        make("green \(desc) on \(dev)")
    }
    func cuGreenCtxDestroy(hCtx: GreenContextHandle) throws(CUDAError) { note("end green") }
    func cuGreenCtxStreamCreate(
        _ context: ContextHandle, greenCtx: GreenContextHandle, flags: UInt32, priority: Int32
    ) throws(CUDAError) -> StreamHandle { make("green stream \(priority)") }
    func cuGreenCtxRecordEvent(
        _ context: ContextHandle, hCtx: GreenContextHandle, hEvent: EventHandle
    ) throws(CUDAError) { note("record green") }
    func cuGreenCtxWaitEvent(
        _ context: ContextHandle, hCtx: GreenContextHandle, hEvent: EventHandle
    ) throws(CUDAError) { note("wait green") }
    func cuCtxRecordEvent(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) { note("record context") }
    func cuCtxWaitEvent(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) { note("wait context") }
}

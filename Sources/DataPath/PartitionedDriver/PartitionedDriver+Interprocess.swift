// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
package import CCUDA
package import Driver
import Synchronization

// Memory and events of other processes. The driver's handles stay between the workers of the allocation; what the
// application is given is a token that the allocation's ledger knows, so that nothing else can be opened.

extension PartitionedDriver {
    package func cuIpcGetMemHandle(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) -> ShareableHandle {
        let known = account.withLock { $0.allocations[dptr] }
        guard let known, known.pool == nil else { throw .invalidValue }
        if let export = known.export { return ShareableHandle(export) }
        let handle = try driver.cuIpcGetMemHandle(context, dptr: dptr)
        let export = Export(
            .memory, device: Int(known.device), byteCount: known.byteCount, handle: handle.bytes)
        guard let reference = slot.publish(export) else { throw .outOfMemory }
        account.withLock { $0.allocations[dptr]?.export = reference }
        return ShareableHandle(reference)
    }

    package func cuIpcOpenMemHandle_v2(
        _ context: ContextHandle, handle: ShareableHandle, flags: UInt32
    ) throws(CUDAError) -> (dptr: CUdeviceptr, bytesize: Int) {
        settle()
        guard let device = account.withLock({ $0.device(of: context) }) else { throw .invalidContext }
        let (reference, export) = try find(handle, .memory)
        // As CUDA answers a process that opens its own memory.
        guard !slot.isOwn(reference) else { throw .invalidContext }
        guard let driverHandle = ShareableHandle(export.handle) else { throw .invalidHandle }
        let opened = try driver.cuIpcOpenMemHandle_v2(context, handle: driverHandle, flags: flags)
        account.withLock { account in
            if account.imports[opened.dptr] != nil {
                account.imports[opened.dptr]?.openCount += 1
            } else {
                account.imports[opened.dptr] = MemoryAccount.Import(
                    reference: reference, device: device, context: context, byteCount: export.byteCount)
            }
            isChangingByItself.store(true, ordering: .relaxed)
        }
        return opened
    }

    package func cuIpcCloseMemHandle(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) {
        try driver.cuIpcCloseMemHandle(context, dptr: dptr)
        account.withLock { account in
            guard let opened = account.imports[dptr], opened.pool == nil else { return }
            if opened.openCount > 1 {
                account.imports[dptr]?.openCount -= 1
                return
            }
            account.imports[dptr] = nil
            guard opened.isCounted else { return }
            slot.giveBack(account.shrink(by: opened.byteCount, on: opened.device), device: Int(opened.device))
        }
    }

    /// Counts memory of other processes that these have freed, or that have ended: it lives on where it is open.
    func settleImports(_ account: inout MemoryAccount) {
        for (address, opened) in account.imports where !opened.isCounted {
            guard slot.ledger.export(opened.reference) == nil else { continue }
            if let pool = opened.pool, slot.ledger.export(pool) != nil { continue }
            slot.add(account.grow(by: opened.byteCount, on: opened.device), device: Int(opened.device))
            account.imports[address]?.isCounted = true
        }
    }

    /// Memory is about to be freed: from here on nobody opens it.
    func withdrawExport(of address: CUdeviceptr) {
        account.withLock { account in
            guard let export = account.allocations[address]?.export else { return }
            account.allocations[address]?.export = nil
            slot.withdraw(export)
        }
    }

    // MARK: Events

    package func cuIpcGetEventHandle(
        _ context: ContextHandle, hEvent: EventHandle
    ) throws(CUDAError) -> ShareableHandle {
        if let known = account.withLock({ $0.eventExports[hEvent] }) { return ShareableHandle(known.reference) }
        guard let device = account.withLock({ $0.device(of: context) }) else { throw .invalidContext }
        let handle = try driver.cuIpcGetEventHandle(context, hEvent: hEvent)
        let export = Export(.event, device: Int(device), byteCount: 0, handle: handle.bytes)
        guard let reference = slot.publish(export) else { throw .outOfMemory }
        account.withLock { $0.eventExports[hEvent] = (context, reference) }
        return ShareableHandle(reference)
    }

    package func cuIpcOpenEventHandle(
        _ context: ContextHandle, handle: ShareableHandle
    ) throws(CUDAError) -> EventHandle {
        let (reference, export) = try find(handle, .event)
        guard !slot.isOwn(reference) else { throw .invalidContext }
        guard let driverHandle = ShareableHandle(export.handle) else { throw .invalidHandle }
        return try driver.cuIpcOpenEventHandle(context, handle: driverHandle)
    }

    package func cuEventDestroy_v2(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        account.withLock { account in
            guard let export = account.eventExports.removeValue(forKey: hEvent) else { return }
            slot.withdraw(export.reference)
        }
        try driver.cuEventDestroy_v2(context, hEvent: hEvent)
    }

    /// What a handle of the application stands for.
    ///
    /// CUDA_ERROR_INVALID_HANDLE for a stale or a forged one, and for one of another allocation.
    func find(
        _ handle: ShareableHandle, _ kinds: Export.Kind...
    ) throws(CUDAError) -> (ExportReference, Export) {
        guard let reference = handle.exportReference, let export = slot.ledger.export(reference),
            kinds.contains(export.kind)
        else { throw .invalidHandle }
        return (reference, export)
    }
}

extension ShareableHandle {
    /// "BFSHARE1".
    private static let magic: UInt64 = 0x3145_5241_4853_4642

    init(_ reference: ExportReference) {
        self.init(
            words: (
                Self.magic, UInt64(reference.number), reference.token.low, reference.token.high, 0, 0, 0, 0
            ))
    }

    var exportReference: ExportReference? {
        guard self[0] == Self.magic, (4..<8).allSatisfy({ self[$0] == 0 }) else { return nil }
        return ExportReference(
            number: Int(clamping: self[1]), token: Export.Token(low: self[2], high: self[3]))
    }
}

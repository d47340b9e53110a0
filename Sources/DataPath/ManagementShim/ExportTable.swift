// SPDX-License-Identifier: Apache-2.0
import CNVML
import Management

/// The table of functions outside the public interface without which nvidia-smi refuses to run.
///
/// It asks there for what its tables show of processes, and whether a GPU can be watched. What those functions take was
/// found out by looking at what nvidia-smi 535 does with their answers; all others say that they are not supported,
/// which nvidia-smi shows as N/A.
enum ExportTable {
    private typealias Entry = @convention(c) () -> UInt32
    private typealias Ask = @convention(c) (UnsafeMutableRawPointer?, UnsafeMutablePointer<UInt32>?) -> UInt32
    private typealias List =
        @convention(c) (
            UnsafeMutableRawPointer?, UnsafeMutablePointer<UInt32>?, UnsafeMutableRawPointer?
        ) -> UInt32
    private typealias Average =
        @convention(c) (
            UnsafeMutableRawPointer?, UInt64, UnsafeMutablePointer<UInt32>?, UnsafeMutablePointer<UInt32>?,
            UnsafeMutableRawPointer?
        ) -> UInt32
    private typealias Ancestor =
        @convention(c) (
            UnsafePointer<CChar>?, UnsafePointer<CChar>?, UnsafeMutableRawPointer?
        ) -> UInt32

    /// More than the 244 entries that nvidia-smi 535 was seen to call.
    private static let entryCount = 600

    // SAFETY: written once, before the first reader sees it, and never freed. The entries have the types with which
    // nvidia-smi calls them.
    nonisolated(unsafe) static let entries: UnsafeMutablePointer<UnsafeRawPointer> = {
        let notSupported: Entry = { UInt32(NVML_ERROR_NOT_SUPPORTED) }
        let canBeWatched: Ask = { Library.shared.canBeWatched($0, $1) }
        let computeProcesses: List = { Library.shared.namedComputeProcesses($0, $1, $2) }
        let noProcesses: List = { Library.shared.nvmlDeviceGetGraphicsRunningProcesses($0, $1, $2) }
        let utilization: Average = { Library.shared.averagedProcessUtilization($0, $1, $2, $3, $4) }
        let ancestor: Ancestor = { Library.shared.commonAncestor($0, $1, $2) }
        let entries = UnsafeMutablePointer<UnsafeRawPointer>.allocate(capacity: entryCount)
        entries.initialize(repeating: unsafeBitCast(notSupported, to: UnsafeRawPointer.self), count: entryCount)
        // The common ancestor of two bus numbers.
        entries[23] = unsafeBitCast(ancestor, to: UnsafeRawPointer.self)
        // Asked by `pmon` and `dmon` before anything else.
        entries[72] = unsafeBitCast(canBeWatched, to: UnsafeRawPointer.self)
        // How much each process has used the GPU, for `pmon`.
        entries[145] = unsafeBitCast(utilization, to: UnsafeRawPointer.self)
        // The processes that compute, that draw, and that compute through MPS.
        entries[213] = unsafeBitCast(computeProcesses, to: UnsafeRawPointer.self)
        entries[214] = unsafeBitCast(noProcesses, to: UnsafeRawPointer.self)
        entries[215] = unsafeBitCast(noProcesses, to: UnsafeRawPointer.self)
        return entries
    }()
}

extension Library {
    func nvmlInternalGetExportTable(_ table: UnsafeMutableRawPointer?, _ uuid: UnsafeMutableRawPointer?) -> UInt32 {
        store(UnsafeRawPointer(ExportTable.entries), at: table)
    }

    fileprivate func canBeWatched(
        _ device: UnsafeMutableRawPointer?, _ answer: UnsafeMutablePointer<UInt32>?
    ) -> UInt32 {
        withDevice(device) { _ in store(UInt32(1), at: UnsafeMutableRawPointer(answer)) }
    }

    /// An element is a public `nvmlProcessInfo_t`, another number of bytes, and the process's name.
    private static let namedElementBytes = 4128
    private static let nameOffset = 32

    fileprivate func namedComputeProcesses(
        _ device: UnsafeMutableRawPointer?, _ count: UnsafeMutablePointer<UInt32>?, _ elements: UnsafeMutableRawPointer?
    ) -> UInt32 {
        guard let count else { return NVMLCode.invalidArgument }
        let room = elements == nil ? 0 : count.pointee
        let (status, processes) = computeProcesses(device, room: room, &count.pointee)
        guard status == NVMLCode.success else { return status }
        for (index, process) in processes.enumerated() {
            guard let element = elements.map({ $0 + index * Library.namedElementBytes }) else { break }
            let nameBytes = Library.namedElementBytes - Library.nameOffset
            element.initializeMemory(as: UInt8.self, repeating: 0, count: Library.namedElementBytes)
            element.storeBytes(of: process, as: nvmlProcessInfo_t.self)
            // A process that has just ended has no name any more.
            _ = ask(
                .nvmlSystemGetProcessName,
                [.value(process.pid), .buffer(element + Library.nameOffset, UInt32(nameBytes))])
        }
        return status
    }

    fileprivate func commonAncestor(
        _ first: UnsafePointer<CChar>?, _ second: UnsafePointer<CChar>?, _ level: UnsafeMutableRawPointer?
    ) -> UInt32 {
        var devices: [UnsafeMutableRawPointer?] = []
        for bus in [first, second] {
            var device: UnsafeMutableRawPointer?
            let status = withUnsafeMutablePointer(to: &device) {
                ask(.nvmlDeviceGetHandleByPciBusId_v2, [.text(bus), .madeDevice($0)])
            }
            guard status == NVMLCode.success else { return status }
            devices.append(device)
        }
        var found: UInt32 = 0
        let status = withUnsafeMutableBytes(of: &found) {
            ask(
                .nvmlDeviceGetTopologyCommonAncestor,
                [.device(devices[0]), .device(devices[1]), .result($0.baseAddress, 4)])
        }
        // The public levels are tens: 10 for one PCIe bridge, to 50 for the whole machine. Here they are 0 to 4.
        return status == NVMLCode.success ? store(max(found, 10) / 10 - 1, at: level) : status
    }
}

// SPDX-License-Identifier: Apache-2.0
import CNVML
import Management

// The forms of the list of running processes. The source is asked for the newest one.

extension Library {
    /// The first form, without instances.
    func nvmlDeviceGetComputeRunningProcesses(
        _ device: UnsafeMutableRawPointer?, _ count: UnsafeMutablePointer<UInt32>?, _ infos: UnsafeMutableRawPointer?
    ) -> UInt32 {
        guard let count else { return NVMLCode.invalidArgument }
        let (status, processes) = computeProcesses(device, room: infos == nil ? 0 : count.pointee, &count.pointee)
        guard status == NVMLCode.success else { return status }
        for (index, process) in processes.enumerated() {
            infos?.storeBytes(
                of: nvmlProcessInfo_v1_t(pid: process.pid, usedGpuMemory: process.usedGpuMemory),
                toByteOffset: index * MemoryLayout<nvmlProcessInfo_v1_t>.stride, as: nvmlProcessInfo_v1_t.self)
        }
        return status
    }

    /// No process of the client draws, or computes through MPS: the lists, in all forms, are empty.
    func nvmlDeviceGetGraphicsRunningProcesses(
        _ device: UnsafeMutableRawPointer?, _ count: UnsafeMutablePointer<UInt32>?, _ infos: UnsafeMutableRawPointer?
    ) -> UInt32 {
        guard let count else { return NVMLCode.invalidArgument }
        return withDevice(device) { _ in
            count.pointee = 0
            return NVMLCode.success
        }
    }

    func nvmlDeviceGetRunningProcessDetailList(
        _ device: UnsafeMutableRawPointer?, _ place: UnsafeMutableRawPointer?
    ) -> UInt32 {
        guard let place else { return NVMLCode.invalidArgument }
        let list = place.assumingMemoryBound(to: nvmlProcessDetailList_v1_t.self)
        let version = UInt32(MemoryLayout<nvmlProcessDetailList_v1_t>.size) | 1 << 24
        guard list.pointee.version == version else { return NVMLCode.versionMismatch }
        guard list.pointee.mode <= 2 else { return NVMLCode.invalidArgument }
        if list.pointee.mode != 0 {
            return nvmlDeviceGetGraphicsRunningProcesses(device, &list.pointee.numProcArrayEntries, nil)
        }
        let room = list.pointee.procArray == nil ? 0 : list.pointee.numProcArrayEntries
        let (status, processes) = computeProcesses(device, room: room, &list.pointee.numProcArrayEntries)
        guard status == NVMLCode.success else { return status }
        for (index, process) in processes.enumerated() {
            list.pointee.procArray?[index] = nvmlProcessDetail_v1_t(
                pid: process.pid, usedGpuMemory: process.usedGpuMemory, gpuInstanceId: process.gpuInstanceId,
                computeInstanceId: process.computeInstanceId, usedGpuCcProtectedMemory: 0)
        }
        return status
    }

    /// At most `room` processes; `count` becomes the number of them, or of those that there should be room for.
    func computeProcesses(
        _ device: UnsafeMutableRawPointer?, room: UInt32, _ count: inout UInt32
    ) -> (status: UInt32, processes: [nvmlProcessInfo_t]) {
        let byteCount = MemoryLayout<nvmlProcessInfo_t>.stride
        let limit = Int(min(room, UInt32(ManagementLimits.arrayBytesMax / byteCount)))
        var processes = [nvmlProcessInfo_t](repeating: nvmlProcessInfo_t(), count: limit)
        var found = UInt32(limit)
        let status = processes.withUnsafeMutableBytes { bytes in
            withUnsafeMutablePointer(to: &found) { found in
                ask(
                    .nvmlDeviceGetComputeRunningProcesses_v3,
                    [.device(device), .list(found, [(bytes.baseAddress, byteCount)])])
            }
        }
        if status == NVMLCode.success || status == NVMLCode.insufficientSize { count = found }
        return (status, Array(processes.prefix(Int(found))))
    }
}

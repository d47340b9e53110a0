// SPDX-License-Identifier: Apache-2.0
import CNVML
import Management

// The forms of the list of processes with how much they have used a GPU. The source is asked for the first one.

extension Library {
    func nvmlDeviceGetProcessesUtilizationInfo(
        _ device: UnsafeMutableRawPointer?, _ place: UnsafeMutableRawPointer?
    ) -> UInt32 {
        guard let place else { return NVMLCode.invalidArgument }
        let list = place.assumingMemoryBound(to: nvmlProcessesUtilizationInfo_v1_t.self)
        let version = UInt32(MemoryLayout<nvmlProcessesUtilizationInfo_v1_t>.size) | 1 << 24
        guard list.pointee.version == version else { return NVMLCode.versionMismatch }
        let room = list.pointee.procUtilArray == nil ? 0 : list.pointee.processSamplesCount
        let (status, samples) = processUtilization(
            device, since: list.pointee.lastSeenTimeStamp, room: room, &list.pointee.processSamplesCount)
        for (index, sample) in samples.enumerated() {
            list.pointee.procUtilArray?[index] = nvmlProcessUtilizationInfo_v1_t(
                timeStamp: sample.timeStamp, pid: sample.pid, smUtil: sample.smUtil, memUtil: sample.memUtil,
                encUtil: sample.encUtil, decUtil: sample.decUtil, jpgUtil: 0, ofaUtil: 0)
        }
        return status
    }

    /// At most `room` samples; `count` becomes the number of them, or of those that there should be room for.
    func processUtilization(
        _ device: UnsafeMutableRawPointer?, since: UInt64, room: UInt32, _ count: inout UInt32
    ) -> (status: UInt32, samples: [nvmlProcessUtilizationSample_t]) {
        let byteCount = MemoryLayout<nvmlProcessUtilizationSample_t>.stride
        let limit = Int(min(room, UInt32(ManagementLimits.arrayBytesMax / byteCount)))
        var samples = [nvmlProcessUtilizationSample_t](repeating: nvmlProcessUtilizationSample_t(), count: limit)
        var found = UInt32(limit)
        let status = samples.withUnsafeMutableBytes { bytes in
            withUnsafeMutablePointer(to: &found) { found in
                ask(
                    .nvmlDeviceGetProcessUtilization,
                    [.device(device), .list(found, [(limit == 0 ? nil : bytes.baseAddress, byteCount)]), .value(since)])
            }
        }
        if status == NVMLCode.success || status == NVMLCode.insufficientSize { count = found }
        return (status, status == NVMLCode.success ? Array(samples.prefix(Int(found))) : [])
    }

    // MARK: What `nvidia-smi pmon` asks

    /// An element is a moment, and for each of four units the percentage, the process, and room for more.
    private static let averagedElementBytes = 328
    private static let averagedUnitBytes = 80
    private static let averagedUnits = 4

    /// The same samples in a form whose elements `pmon` takes the average of: one process is seen at a time, so that
    /// what a process has is the sum over the elements, divided by their number.
    func averagedProcessUtilization(
        _ device: UnsafeMutableRawPointer?, _ since: UInt64, _ kind: UnsafeMutablePointer<UInt32>?,
        _ count: UnsafeMutablePointer<UInt32>?, _ elements: UnsafeMutableRawPointer?
    ) -> UInt32 {
        guard let count else { return NVMLCode.invalidArgument }
        let (status, samples) = processUtilization(
            device, since: since, room: elements == nil ? 0 : count.pointee, &count.pointee)
        guard status == NVMLCode.success, let elements else {
            if status != NVMLCode.insufficientSize { count.pointee = 0 }
            return status
        }
        // NVML_VALUE_TYPE_UNSIGNED_INT.
        kind?.pointee = 1
        for (index, sample) in samples.enumerated() {
            let element = elements + index * Library.averagedElementBytes
            element.initializeMemory(as: UInt8.self, repeating: 0, count: Library.averagedElementBytes)
            element.storeBytes(of: sample.timeStamp, as: UInt64.self)
            let values = [sample.smUtil, sample.memUtil, sample.encUtil, sample.decUtil]
            for unit in 0..<Library.averagedUnits {
                let place = element + 8 + unit * Library.averagedUnitBytes
                place.storeBytes(of: values[unit] * UInt32(samples.count), as: UInt32.self)
                place.storeBytes(of: sample.pid, toByteOffset: 8, as: UInt32.self)
            }
        }
        return status
    }
}

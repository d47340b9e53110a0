// SPDX-License-Identifier: Apache-2.0
package import AllocationLedger
import CNVML
package import Management
import Wire

/// Shows of each device's memory and processes what belongs to the allocation, as the CUDA driver does.
package final class PartitionedManagement: ManagementSource {
    let base: any ManagementSource
    let ledger: AllocationLedger

    package init(_ base: any ManagementSource, ledger: AllocationLedger) {
        self.base = base
        self.ledger = ledger
    }

    package func answer(_ question: ManagementQuestion) -> ManagementAnswer {
        do throws(MalformedQuestion) {
            switch question.call {
            case .nvmlDeviceGetMemoryInfo_v2: return try memory(question)
            case .nvmlDeviceGetComputeRunningProcesses_v3: return try processes(question)
            case .nvmlDeviceGetProcessUtilization: return try processUtilization(question)
            case .nvmlSystemGetProcessName: return try processName(question)
            default: return base.answer(question)
            }
        } catch {
            return ManagementAnswer(NVMLCode.invalidArgument)
        }
    }

    private func memory(_ question: ManagementQuestion) throws(MalformedQuestion) -> ManagementAnswer {
        let answer = base.answer(question)
        guard answer.status == NVMLCode.success else { return answer }
        var reader = ValueReader(question.bytes)
        let device = try self.device(&reader)
        var info = nvmlMemory_v2_t()
        let byteCount = MemoryLayout<nvmlMemory_v2_t>.size
        guard answer.bytes.count == 4 + byteCount else { return ManagementAnswer(NVMLCode.versionMismatch) }
        withUnsafeMutableBytes(of: &info) { $0.copyBytes(from: answer.bytes.dropFirst(4)) }
        if let limit = ledger.limitBytes {
            info.total = UInt64(limit)
            info.reserved = 0
        }
        let available = info.total - min(info.total, info.reserved)
        info.used = min(UInt64(ledger.usedBytes(device: device)), available)
        info.free = available - info.used
        var writer = PayloadWriter()
        writer.write(block: withUnsafeBytes(of: info) { Array($0) })
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }

    /// The allocation's number of a device.
    func device(_ question: inout ValueReader) throws(MalformedQuestion) -> Int {
        let device = Int(try question.value(UInt32.self))
        guard device < ledger.deviceCount else { throw MalformedQuestion() }
        return device
    }

    private func processes(_ question: ManagementQuestion) throws(MalformedQuestion) -> ManagementAnswer {
        var reader = ValueReader(question.bytes)
        let device = try self.device(&reader)
        let room = Int(try reader.value(UInt32.self))
        try reader.finish()
        let running = ledger.processes.filter { $0.devices[device].hasContext }
        var writer = PayloadWriter()
        writer.write(UInt32(running.count))
        guard running.count <= room else {
            return ManagementAnswer(NVMLCode.insufficientSize, bytes: writer.bytes)
        }
        for process in running {
            var info = nvmlProcessInfo_t()
            // The bytes between the fields travel too.
            withUnsafeMutableBytes(of: &info) { $0.copyBytes(from: [UInt8](repeating: 0, count: $0.count)) }
            info.pid = process.processID
            info.usedGpuMemory = UInt64(process.devices[device].usedBytes)
            info.gpuInstanceId = .max
            info.computeInstanceId = .max
            withUnsafeBytes(of: info) { bytes in bytes.forEach { writer.write($0) } }
        }
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }

    private func processName(_ question: ManagementQuestion) throws(MalformedQuestion) -> ManagementAnswer {
        var reader = ValueReader(question.bytes)
        let pid = try reader.value(UInt32.self)
        let room = Int(try reader.value(UInt32.self))
        try reader.finish()
        guard let process = ledger.processes.first(where: { $0.processID == pid }) else {
            return ManagementAnswer(NVMLCode.notFound)
        }
        guard room > 0 else { return ManagementAnswer(NVMLCode.insufficientSize) }
        var writer = PayloadWriter()
        // A name that is too long is cut, as by NVIDIA's library.
        writer.write(block: Array(process.name.utf8.prefix(room - 1)))
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }
}

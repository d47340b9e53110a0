// SPDX-License-Identifier: Apache-2.0
import CNVML
package import Management
import Wire

/// What the processes of an allocation use.
package protocol AllocationUse: Sendable {
    /// The processes that run now.
    func processes() -> [ProcessUse]
}

/// One application process.
package struct ProcessUse: Sendable, Equatable {
    /// The client's number of it.
    package var pid: UInt32
    package var name: String
    /// On each device of the allocation, in its order.
    package var bytes: [UInt64]

    package init(pid: UInt32, name: String, bytes: [UInt64]) {
        self.pid = pid
        self.name = name
        self.bytes = bytes
    }
}

/// Shows of each device's memory and processes what belongs to the allocation, as the CUDA driver does.
package final class PartitionedManagement: ManagementSource {
    private let base: any ManagementSource
    /// Memory of the allocation on each device, in bytes; nil for all.
    private let bytesMax: UInt64?
    private let use: any AllocationUse

    package init(_ base: any ManagementSource, bytesMax: UInt64?, use: any AllocationUse) {
        self.base = base
        self.bytesMax = bytesMax
        self.use = use
    }

    package func answer(_ question: ManagementQuestion) -> ManagementAnswer {
        do throws(MalformedQuestion) {
            switch question.call {
            case .nvmlDeviceGetMemoryInfo_v2: return try memory(question)
            case .nvmlDeviceGetComputeRunningProcesses_v3: return try processes(question)
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
        let device = Int(try reader.value(UInt32.self))
        var info = nvmlMemory_v2_t()
        let byteCount = MemoryLayout<nvmlMemory_v2_t>.size
        guard answer.bytes.count == 4 + byteCount else { return ManagementAnswer(NVMLCode.versionMismatch) }
        withUnsafeMutableBytes(of: &info) { $0.copyBytes(from: answer.bytes.dropFirst(4)) }
        if let bytesMax {
            info.total = bytesMax
            info.reserved = 0
        }
        let used = use.processes().reduce(UInt64(0)) { $0 + ($1.bytes.indices.contains(device) ? $1.bytes[device] : 0) }
        let available = info.total - min(info.total, info.reserved)
        info.used = min(used, available)
        info.free = available - info.used
        var writer = PayloadWriter()
        writer.write(block: withUnsafeBytes(of: info) { Array($0) })
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }

    private func processes(_ question: ManagementQuestion) throws(MalformedQuestion) -> ManagementAnswer {
        var reader = ValueReader(question.bytes)
        let device = Int(try reader.value(UInt32.self))
        let room = Int(try reader.value(UInt32.self))
        try reader.finish()
        let running = use.processes().filter { $0.bytes.indices.contains(device) && $0.bytes[device] > 0 }
        var writer = PayloadWriter()
        writer.write(UInt32(running.count))
        guard running.count <= room else {
            return ManagementAnswer(NVMLCode.insufficientSize, bytes: writer.bytes)
        }
        for process in running {
            var info = nvmlProcessInfo_t()
            withUnsafeMutableBytes(of: &info) { $0.initializeMemory(as: UInt8.self, repeating: 0) }
            info.pid = process.pid
            info.usedGpuMemory = process.bytes[device]
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
        guard let process = use.processes().first(where: { $0.pid == pid }) else {
            return ManagementAnswer(NVMLCode.notFound)
        }
        guard room > 0 else { return ManagementAnswer(NVMLCode.insufficientSize) }
        var writer = PayloadWriter()
        // A name that is too long is cut, as by NVIDIA's library.
        writer.write(block: Array(process.name.utf8.prefix(room - 1)))
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }
}

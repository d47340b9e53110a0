// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import CNVML
import Management
import Wire

// How much each process has used a GPU. The server's library counts by the server's processes, the workers: those of
// the allocation are shown under the client's numbers, and no others.

extension PartitionedManagement {
    /// The samples of all processes of the server that are asked for: more than workers fit on a GPU.
    private static let samplesMax = 4096

    func processUtilization(_ question: ManagementQuestion) throws(MalformedQuestion) -> ManagementAnswer {
        var reader = ValueReader(question.bytes)
        let device = try self.device(&reader)
        let room = Int(try reader.value(UInt32.self))
        let since = try reader.value(UInt64.self)
        try reader.finish()
        var writer = PayloadWriter()
        writer.write(UInt32(device))
        writer.write(UInt32(PartitionedManagement.samplesMax))
        writer.write(since)
        let answer = base.answer(ManagementQuestion(question.call, bytes: writer.bytes))
        guard answer.status == NVMLCode.success else {
            // Numbers of the server's own processes are nobody's business.
            return ManagementAnswer(
                answer.status == NVMLCode.insufficientSize ? NVMLCode.insufficientResources : answer.status)
        }
        let samples = try own(answer.bytes, device: device)
        guard !samples.isEmpty else { return ManagementAnswer(NVMLCode.notFound) }
        writer = PayloadWriter()
        writer.write(UInt32(samples.count))
        guard samples.count <= room else {
            return ManagementAnswer(NVMLCode.insufficientSize, bytes: writer.bytes)
        }
        for sample in samples { withUnsafeBytes(of: sample) { bytes in bytes.forEach { writer.write($0) } } }
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }

    /// The allocation's samples of an answer, with the client's numbers.
    private func own(
        _ answer: [UInt8], device: Int
    ) throws(MalformedQuestion) -> [nvmlProcessUtilizationSample_t] {
        let clients = Dictionary(
            ledger.processes.filter { $0.devices[device].hasContext }.map { ($0.workerID, $0.processID) },
            uniquingKeysWith: { first, _ in first })
        var reader = ValueReader(answer)
        let count = Int(try reader.value(UInt32.self))
        var samples: [nvmlProcessUtilizationSample_t] = []
        for _ in 0..<count {
            var sample = nvmlProcessUtilizationSample_t()
            let bytes = try reader.bytes(MemoryLayout<nvmlProcessUtilizationSample_t>.size)
            withUnsafeMutableBytes(of: &sample) { $0.copyBytes(from: bytes) }
            guard let client = clients[sample.pid] else { continue }
            sample.pid = client
            samples.append(sample)
        }
        return samples
    }
}

// SPDX-License-Identifier: Apache-2.0
import CNVML
import Glibc
import Management
import UsageBoard
import Wire

// What is known of the processes that drive the software GPUs: what they say of themselves on the board that the
// environment names. Without a board nothing is known of other processes.

extension SoftManagement {
    /// The use of a GPU is that of the past second, as on NVIDIA's GPUs.
    private static let ratePeriod: UInt64 = 1_000_000_000

    /// Percent of time in which kernels ran, and in which memory was used, which is not measured.
    ///
    /// Kernels of several processes run side by side on this machine's cores, where a GPU takes turns: the sum is cut.
    func utilization(of ordinal: Int) -> ManagementAnswer {
        let processes = board?.processes(device: ordinal, past: SoftManagement.ratePeriod) ?? []
        return numbers(min(100, processes.reduce(0) { $0 + $1.busyPercent }), 0)
    }

    /// Memory in use by all processes together.
    func usedBytes(of ordinal: Int) -> UInt64 {
        let processes = board?.processes(device: ordinal, past: 1) ?? []
        return min(inventory.totalBytes, processes.reduce(0) { $0 &+ $1.usedBytes })
    }

    func runningProcesses(
        of ordinal: Int, _ question: inout ValueReader
    ) throws(MalformedQuestion) -> ManagementAnswer {
        let room = Int(try question.value(UInt32.self))
        let processes = board?.processes(device: ordinal, past: 1) ?? []
        return SoftManagement.list(processes, of: nvmlProcessInfo_t(), room: room) { info, process in
            info.pid = process.processID
            info.usedGpuMemory = process.usedBytes
            info.gpuInstanceId = .max
            info.computeInstanceId = .max
        }
    }

    /// How busy each process kept the GPU since a moment of the wall clock, in microseconds.
    func processUtilization(
        of ordinal: Int, _ question: inout ValueReader
    ) throws(MalformedQuestion) -> ManagementAnswer {
        let room = Int(try question.value(UInt32.self))
        let since = try question.value(UInt64.self)
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let now = UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1000
        let past = min((now - min(now, since)), UsageBoard.historyNanoseconds / 1000) * 1000
        let processes = past == 0 ? [] : board?.processes(device: ordinal, past: past) ?? []
        guard !processes.isEmpty else { return ManagementAnswer(NVMLCode.notFound) }
        return SoftManagement.list(processes, of: nvmlProcessUtilizationSample_t(), room: room) { sample, process in
            sample.pid = process.processID
            sample.timeStamp = now
            sample.smUtil = process.busyPercent
        }
    }

    /// A list as it travels, or only its length where there is no room for it.
    private static func list<Element>(
        _ processes: [BoardProcess], of empty: Element, room: Int, _ fill: (inout Element, BoardProcess) -> Void
    ) -> ManagementAnswer {
        var writer = PayloadWriter()
        writer.write(UInt32(processes.count))
        guard processes.count <= room else {
            return ManagementAnswer(NVMLCode.insufficientSize, bytes: writer.bytes)
        }
        for process in processes {
            var element = empty
            // The bytes between the fields travel too.
            withUnsafeMutableBytes(of: &element) { $0.copyBytes(from: [UInt8](repeating: 0, count: $0.count)) }
            fill(&element, process)
            withUnsafeBytes(of: element) { bytes in bytes.forEach { writer.write($0) } }
        }
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }
}

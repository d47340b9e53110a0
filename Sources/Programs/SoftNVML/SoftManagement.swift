// SPDX-License-Identifier: Apache-2.0
import CNVML
import Glibc
import Management
import UsageBoard
import Wire

/// What a software GPU says of itself; everything that it does not have is NVML_ERROR_NOT_SUPPORTED, which tools show
/// as N/A: displays, fans, clocks, error-correcting memory, partitions in hardware.
final class SoftManagement: ManagementSource {
    let inventory: SoftInventory
    /// Where the processes that drive these GPUs say what they do.
    let board: UsageBoard?

    init(_ inventory: SoftInventory, board: UsageBoard?) {
        self.inventory = inventory
        self.board = board
    }

    func answer(_ question: ManagementQuestion) -> ManagementAnswer {
        var reader = ValueReader(question.bytes)
        do throws(MalformedQuestion) {
            if let answer = try ofSystem(question.call, &reader) { return answer }
            return try ofDevice(question.call, &reader)
        } catch {
            return ManagementAnswer(NVMLCode.invalidArgument)
        }
    }

    /// Nil when the question is about a device.
    private func ofSystem(
        _ call: ManagementCall, _ question: inout ValueReader
    ) throws(MalformedQuestion) -> ManagementAnswer? {
        switch call {
        case .nvmlSystemGetDriverVersion: text("575.00.00", room: try question.value(UInt32.self))
        case .nvmlSystemGetNVMLVersion: text("13.575.00.00", room: try question.value(UInt32.self))
        // CUDA 13.5, as the software libcuda reports it.
        case .nvmlSystemGetCudaDriverVersion_v2: numbers(13050)
        case .nvmlDeviceGetCount_v2: numbers(UInt32(inventory.count))
        case .nvmlDeviceGetHandleByUUID:
            find(try question.text()) { [inventory.uuid(of: $0)] }
        case .nvmlDeviceGetHandleByPciBusId_v2:
            find(try question.text()) { ordinal in
                [4, 8].map { inventory.pciAddress(of: ordinal, domainDigits: $0) }
            }
        case .nvmlSystemGetProcessName:
            processName(try question.value(UInt32.self), room: try question.value(UInt32.self))
        case .nvmlDeviceRegisterEvents, .nvmlEventSetWait_v2, .nvmlEventSetFree:
            ManagementAnswer(NVMLCode.notSupported)
        default: nil
        }
    }

    private func ofDevice(
        _ call: ManagementCall, _ question: inout ValueReader
    ) throws(MalformedQuestion) -> ManagementAnswer {
        guard case let ordinal = Int(try question.value(UInt32.self)), ordinal < inventory.count else {
            throw MalformedQuestion()
        }
        return switch call {
        case .nvmlDeviceGetMinorNumber: numbers(UInt32(ordinal))
        case .nvmlDeviceGetName: text(inventory.name, room: try question.value(UInt32.self))
        case .nvmlDeviceGetUUID: text(inventory.uuid(of: ordinal), room: try question.value(UInt32.self))
        case .nvmlDeviceGetPciInfo_v3: pciInfo(of: ordinal)
        case .nvmlDeviceGetMemoryInfo_v2: try memory(of: ordinal, &question)
        case .nvmlDeviceGetCudaComputeCapability:
            numbers(UInt32(inventory.capabilityMajor), UInt32(inventory.capabilityMinor))
        case .nvmlDeviceGetUtilizationRates: utilization(of: ordinal)
        // NVML_BRAND_UNKNOWN.
        case .nvmlDeviceGetBrand: numbers(0)
        case .nvmlDeviceGetArchitecture: numbers(architecture)
        // Off: nothing stays loaded when no program uses the GPU.
        case .nvmlDeviceGetPersistenceMode: numbers(0)
        // Default: several processes may use the GPU.
        case .nvmlDeviceGetComputeMode: numbers(0)
        case .nvmlDeviceGetComputeRunningProcesses_v3: try runningProcesses(of: ordinal, &question)
        case .nvmlDeviceGetProcessUtilization: try processUtilization(of: ordinal, &question)
        // Nothing happens to a software GPU that its driver would tell of. The result is a `UInt64`.
        case .nvmlDeviceGetSupportedEventTypes: numbers(0, 0)
        case .nvmlDeviceGetFieldValues: try noFields(&question)
        case .nvmlDeviceGetP2PStatus, .nvmlDeviceGetTopologyCommonAncestor, .nvmlDeviceOnSameBoard:
            try pair(call, ordinal, &question)
        default: ManagementAnswer(NVMLCode.notSupported)
        }
    }

    /// The number of the architecture that has the compute capability: 6 for Turing.
    private var architecture: UInt32 {
        switch (inventory.capabilityMajor, inventory.capabilityMinor) {
        case (...5, _): 3
        case (6, _): 4
        case (7, ..<5): 5
        case (7, _): 6
        case (8, 9): 8
        case (8, _): 7
        case (9, _): 9
        default: 10
        }
    }

    func numbers(_ numbers: UInt32...) -> ManagementAnswer {
        var writer = PayloadWriter()
        numbers.forEach { writer.write($0) }
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }

    private func text(_ text: String, room: UInt32) -> ManagementAnswer {
        guard text.utf8.count < Int(room) else { return ManagementAnswer(NVMLCode.insufficientSize) }
        var writer = PayloadWriter()
        writer.write(text: text)
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }

    /// The device of which one of the names is `wanted`, without regard to case.
    private func find(_ wanted: String, names: (Int) -> [String]) -> ManagementAnswer {
        let wanted = wanted.lowercased()
        for ordinal in 0..<inventory.count where names(ordinal).contains(where: { $0.lowercased() == wanted }) {
            return numbers(UInt32(ordinal))
        }
        return ManagementAnswer(NVMLCode.notFound)
    }

    /// Two software GPUs are in one machine and do not reach each other's memory.
    private func pair(
        _ call: ManagementCall, _ ordinal: Int, _ question: inout ValueReader
    ) throws(MalformedQuestion) -> ManagementAnswer {
        let other = Int(try question.value(UInt32.self))
        guard other < inventory.count else { throw MalformedQuestion() }
        return switch call {
        case .nvmlDeviceGetTopologyCommonAncestor: numbers(ordinal == other ? 0 : SoftManagement.sameProcessor)
        case .nvmlDeviceOnSameBoard: numbers(ordinal == other ? 1 : 0)
        default: numbers(ordinal == other ? 0 : SoftManagement.notSupportedByDevice)
        }
    }

    /// `NVML_TOPOLOGY_NODE`: in the same NUMA node.
    private static let sameProcessor: UInt32 = 40
    /// `NVML_P2P_STATUS_GPU_NOT_SUPPORTED`.
    private static let notSupportedByDevice: UInt32 = 2

    private func pciInfo(of ordinal: Int) -> ManagementAnswer {
        var info = nvmlPciInfo_t()
        info.bus = UInt32(inventory.bus(of: ordinal))
        withUnsafeMutableBytes(of: &info.busIdLegacy) {
            $0.copyBytes(from: inventory.pciAddress(of: ordinal, domainDigits: 4).utf8)
        }
        withUnsafeMutableBytes(of: &info.busId) {
            $0.copyBytes(from: inventory.pciAddress(of: ordinal, domainDigits: 8).utf8)
        }
        return ManagementAnswer(NVMLCode.success, bytes: withUnsafeBytes(of: info) { Array($0) })
    }

    private func memory(
        of ordinal: Int, _ question: inout ValueReader
    ) throws(MalformedQuestion) -> ManagementAnswer {
        let given = try question.counted(limit: ManagementLimits.structureBytesMax)
        var reader = ValueReader(Array(given))
        guard try reader.value(UInt32.self) == memoryInfoVersion else {
            return ManagementAnswer(NVMLCode.versionMismatch)
        }
        let (total, used) = (inventory.totalBytes, usedBytes(of: ordinal))
        let info = nvmlMemory_v2_t(
            version: memoryInfoVersion, total: total, reserved: 0, free: total - used, used: used)
        var writer = PayloadWriter()
        writer.write(block: withUnsafeBytes(of: info) { Array($0) })
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }

    /// Says of each field that it is not supported.
    ///
    /// Callers look at the fields' own result codes, whatever the call itself returns.
    private func noFields(_ question: inout ValueReader) throws(MalformedQuestion) -> ManagementAnswer {
        let byteCount = MemoryLayout<nvmlFieldValue_t>.size
        let count = Int(try question.value(UInt32.self))
        guard count <= ManagementLimits.structureBytesMax / byteCount else { throw MalformedQuestion() }
        var writer = PayloadWriter()
        for _ in 0..<count {
            var field = nvmlFieldValue_t()
            let bytes = try question.bytes(byteCount)
            withUnsafeMutableBytes(of: &field) { $0.copyBytes(from: bytes) }
            field.nvmlReturn = NVMLCode.notSupported
            withUnsafeBytes(of: field) { bytes in bytes.forEach { writer.write($0) } }
        }
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }

    /// What the process was started as.
    private func processName(_ pid: UInt32, room: UInt32) -> ManagementAnswer {
        let file = open("/proc/\(pid)/cmdline", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return ManagementAnswer(NVMLCode.notFound) }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: Int(min(room, 4096)))
        let count = read(file, &bytes, bytes.count)
        guard count > 0 else { return ManagementAnswer(NVMLCode.notFound) }
        let name = bytes[..<count].prefix { $0 != 0 }
        return text(String(decoding: name.prefix(Int(room) - 1), as: UTF8.self), room: room)
    }
}

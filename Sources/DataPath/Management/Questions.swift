// SPDX-License-Identifier: Apache-2.0
package import CNVML
import Wire

// Questions of our own to a source, with typed answers; nil where the source has none.

extension ManagementSource {
    /// Asks something whose arguments are plain numbers.
    package func ask(_ call: ManagementCall, _ arguments: [UInt32]) -> ManagementAnswer {
        var writer = PayloadWriter()
        arguments.forEach { writer.write($0) }
        return answer(ManagementQuestion(call, bytes: writer.bytes))
    }

    /// The `UInt32` results of a call.
    package func numbers(_ call: ManagementCall, _ arguments: UInt32...) -> [UInt32]? {
        let answer = ask(call, arguments)
        guard answer.status == NVMLCode.success, answer.bytes.count % 4 == 0 else { return nil }
        var reader = ValueReader(answer.bytes)
        return (0..<answer.bytes.count / 4).compactMap { _ in try? reader.value(UInt32.self) }
    }

    package func number64(_ call: ManagementCall, _ arguments: UInt32...) -> UInt64? {
        let answer = ask(call, arguments)
        guard answer.status == NVMLCode.success else { return nil }
        var reader = ValueReader(answer.bytes)
        return try? reader.value(UInt64.self)
    }

    package func text(_ call: ManagementCall, _ arguments: UInt32...) -> String? {
        let answer = ask(call, arguments + [256])
        guard answer.status == NVMLCode.success else { return nil }
        var reader = ValueReader(answer.bytes)
        return try? reader.text()
    }

    package func memory(_ device: UInt32) -> nvmlMemory_v2_t? { memoryAnswer(device).memory }

    /// The memory of a device, and the call's result code.
    package func memoryAnswer(_ device: UInt32) -> (status: UInt32, memory: nvmlMemory_v2_t?) {
        var memory = nvmlMemory_v2_t()
        memory.version = memoryInfoVersion
        var writer = PayloadWriter()
        writer.write(device)
        writer.write(block: withUnsafeBytes(of: memory) { Array($0) })
        let answer = answer(ManagementQuestion(.nvmlDeviceGetMemoryInfo_v2, bytes: writer.bytes))
        let byteCount = MemoryLayout<nvmlMemory_v2_t>.size
        guard answer.status == NVMLCode.success else { return (answer.status, nil) }
        guard answer.bytes.count == 4 + byteCount else { return (NVMLCode.unknown, nil) }
        withUnsafeMutableBytes(of: &memory) { $0.copyBytes(from: answer.bytes.dropFirst(4)) }
        return (NVMLCode.success, memory)
    }

    /// The bus number as `nvidia-smi` prints it: `00000000:13:00.0`.
    package func pciBusID(_ device: UInt32) -> String? {
        let answer = ask(.nvmlDeviceGetPciInfo_v3, [device])
        guard answer.status == NVMLCode.success, answer.bytes.count == MemoryLayout<nvmlPciInfo_t>.size else {
            return nil
        }
        return String(decoding: answer.bytes.suffix(32).prefix { $0 != 0 }, as: UTF8.self)
    }
}

/// The first word of a `nvmlMemory_v2_t`.
package let memoryInfoVersion = UInt32(MemoryLayout<nvmlMemory_v2_t>.size) | 2 << 24

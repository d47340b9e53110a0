// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// The PTX texts in one input of the linker.
enum LinkerInput {
    static func sources(of input: LinkInput, capability: Int, log: inout JITLog) throws(CUDAError) -> [[UInt8]] {
        switch CUjitInputType(input.type) {
        case CU_JIT_INPUT_PTX, CU_JIT_INPUT_FATBINARY, CU_JIT_INPUT_CUBIN:
            do {
                return try ModuleImage.sources(in: input.bytes, capability: capability, log: &log)
            } catch {
                log.error += "This was in the input '\(input.name)'.\n"
                throw error
            }
        case CU_JIT_INPUT_OBJECT, CU_JIT_INPUT_LIBRARY:
            return try embedded(in: input, capability: capability, log: &log)
        case CU_JIT_INPUT_NVVM:
            log.error +=
                "The software GPU links PTX; the input '\(input.name)' is NVVM code for link-time optimisation.\n"
            throw CUDAError(CUDA_ERROR_NO_BINARY_FOR_GPU)
        default: throw .invalidValue
        }
    }

    /// Object files and libraries carry fat binaries.
    ///
    /// Those without PTX are left out: if something of theirs is needed, the linker names it.
    private static func embedded(
        in input: LinkInput, capability: Int, log: inout JITLog
    ) throws(CUDAError) -> [[UInt8]] {
        let magic: [UInt8] = [0x50, 0xed, 0x55, 0xba]
        var sources: [[UInt8]] = []
        var offset = 0
        while offset + 16 <= input.bytes.count {
            guard input.bytes[offset..<offset + 4].elementsEqual(magic) else {
                offset += 4
                continue
            }
            let reader = LittleEndianReader(input.bytes)
            let byteCount = Int(clamping: try reader.uint64(at: offset + 8)).addingReportingOverflow(16)
            guard !byteCount.overflow,
                let container = try? reader.bytes(at: offset, count: byteCount.partialValue)
            else { break }
            var ignored = JITLog()
            if let found = try? FatBinary.sources(in: Array(container), capability: capability, log: &ignored) {
                sources += found
            }
            offset += (byteCount.partialValue + 3) / 4 * 4
        }
        if sources.isEmpty { log.info += "'\(input.name)' has no PTX and was left out.\n" }
        return sources
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// The options that an application passes to the JIT compiler or the linker, as parallel arrays of names and values.
///
/// Numbers go to the driver. Log buffers stay here: they are filled when the driver has answered, and the values of
/// their sizes and of the wall time are written back into the application's array.
struct JITOptions {
    private(set) var numbers: [JITOption] = []
    private var values: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    private var infoLog = LogBuffer()
    private var errorLog = LogBuffer()
    private var wallTimeIndex: Int?
    private let start = JITOptions.milliseconds()

    private struct LogBuffer {
        var address: UnsafeMutableRawPointer?
        var byteCount = 0
        /// Where in the array of values the length of the log is written back.
        var sizeIndex: Int?
    }

    /// Only numbers, or nothing.
    init(numbers: [JITOption] = []) { self.numbers = numbers }

    init(
        _ count: UInt32, _ names: UnsafePointer<CUjit_option>?,
        _ values: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) throws(CUDAError) {
        guard count > 0 else { return }
        // Each option may come once; a longer list is a damaged count.
        guard let names, let values, count <= 4 * CU_JIT_NUM_OPTIONS.rawValue else { throw .invalidValue }
        self.values = values
        for index in 0..<Int(count) {
            let value = values[index]
            let number = UInt(bitPattern: value)
            switch names[index] {
            case CU_JIT_INFO_LOG_BUFFER: infoLog.address = value
            case CU_JIT_ERROR_LOG_BUFFER: errorLog.address = value
            case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
                infoLog.byteCount = Int(UInt32(truncatingIfNeeded: number))
                infoLog.sizeIndex = index
            case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
                errorLog.byteCount = Int(UInt32(truncatingIfNeeded: number))
                errorLog.sizeIndex = index
            case CU_JIT_WALL_TIME: wallTimeIndex = index
            case CU_JIT_GLOBAL_SYMBOL_NAMES, CU_JIT_GLOBAL_SYMBOL_ADDRESSES, CU_JIT_GLOBAL_SYMBOL_COUNT,
                CU_JIT_REFERENCED_KERNEL_NAMES, CU_JIT_REFERENCED_KERNEL_COUNT, CU_JIT_REFERENCED_VARIABLE_NAMES,
                CU_JIT_REFERENCED_VARIABLE_COUNT:
                // Lists of names, which only let a linker leave things out or bind what it would not find.
                break
            case let name where name.rawValue < CU_JIT_NUM_OPTIONS.rawValue:
                numbers.append(JITOption(option: name.rawValue, value: UInt64(UInt32(truncatingIfNeeded: number))))
            default: throw .invalidValue
            }
        }
    }

    /// Fills the application's buffers and values after the driver's answer, good or bad.
    func report(_ log: JITLog) {
        fill(infoLog, with: log.info)
        fill(errorLog, with: log.error)
        if let wallTimeIndex, let values {
            UnsafeMutableRawPointer(values + wallTimeIndex).storeBytes(
                of: Float(Self.milliseconds() - start), as: Float.self)
        }
    }

    private func fill(_ buffer: LogBuffer, with text: String) {
        var written = 0
        if let address = buffer.address, buffer.byteCount > 0 {
            for byte in text.utf8.prefix(buffer.byteCount - 1) {
                address.storeBytes(of: byte, toByteOffset: written, as: UInt8.self)
                written += 1
            }
            address.storeBytes(of: 0, toByteOffset: written, as: UInt8.self)
        }
        if let index = buffer.sizeIndex { values?[index] = UnsafeMutableRawPointer(bitPattern: UInt(written)) }
    }

    private static func milliseconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) * 1e3 + Double(time.tv_nsec) / 1e6
    }
}

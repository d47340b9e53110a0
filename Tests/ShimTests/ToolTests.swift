// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization
import Testing

@testable import Shim

/// The error log, settings of core dumps, and launches as before CUDA 4.
@Suite(.serialized) struct ToolTests {
    // MARK: The error log

    private func dump(_ iterator: inout CUlogIterator, byteCount: Int = 30_000) throws -> String {
        var buffer = [CChar](repeating: 1, count: byteCount)
        var size = byteCount
        try Entry().cuLogsDumpToMemory(&iterator, &buffer, &size, 0)
        #expect(buffer[size] == 0)
        return String(decoding: buffer.prefix(size).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    @Test func keepsFailuresAsLines() throws {
        var iterator: CUlogIterator = 0
        try Entry().cuLogsCurrent(&iterator, 0)
        let start = iterator
        #expect(try dump(&iterator) == "")
        ErrorLog.shared.add("Returning 1 (CUDA_ERROR_INVALID_VALUE) from cuMemFree_v2")
        ErrorLog.shared.add("something odd", level: CU_LOG_LEVEL_WARNING)
        let text = try dump(&iterator)
        let lines = text.split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[0].hasSuffix("][CUDA][E] Returning 1 (CUDA_ERROR_INVALID_VALUE) from cuMemFree_v2"))
        #expect(lines[1].hasSuffix("][CUDA][W] something odd"))
        // [22:21:32.099]
        #expect(Array(lines[0].utf8)[13] == UInt8(ascii: "]") && Array(lines[0].utf8)[3] == UInt8(ascii: ":"))
        #expect(iterator == start + 2)
        #expect(try dump(&iterator) == "")
    }

    @Test func aSmallBufferGetsTheLatestMessages() throws {
        var iterator: CUlogIterator = 0
        try Entry().cuLogsCurrent(&iterator, 0)
        let start = iterator
        for number in 0..<20 { ErrorLog.shared.add("message \(number) of many") }
        let text = try dump(&iterator, byteCount: 200)
        #expect(text.hasPrefix("the buffer is too small for all messages\n"))
        #expect(text.hasSuffix("message 19 of many\n"))
        #expect(!text.contains("message 1 of many"))
        var again = start
        var buffer = [CChar](repeating: 0, count: 10)
        var size = buffer.count
        #expect(throws: CUDAError.invalidValue) {
            try Entry().cuLogsDumpToMemory(&again, &buffer, &size, 0)
        }
        #expect(size == 0 && again == start)
    }

    @Test func oldMessagesAreLostAndADumpSaysSo() throws {
        var iterator: CUlogIterator = 0
        try Entry().cuLogsCurrent(&iterator, 0)
        for number in 0..<1000 { ErrorLog.shared.add("a message that takes some room, number \(number)") }
        let text = try dump(&iterator)
        #expect(text.hasPrefix("older messages are no longer kept\n"))
        #expect(text.hasSuffix("number 999\n"))
        #expect(text.utf8.count <= ErrorLog.bytesMax + 40)
        let path = "/tmp/bitfusion-log-\(getpid())"
        defer { unlink(path) }
        try Entry().cuLogsDumpToFile(nil, path, 0)
        let file = try readFile(path, limit: 1 << 20)
        #expect(String(decoding: file, as: UTF8.self) == text)
        #expect(throws: CUDAError.invalidValue) { try Entry().cuLogsDumpToFile(nil, "/no/such/folder/log", 0) }
        #expect(throws: CUDAError.invalidValue) { try Entry().cuLogsDumpToFile(nil, nil, 0) }
    }

    @Test func callbacksHearEachMessageUntilTheyAreUnregistered() throws {
        final class Heard {
            var messages: [String] = []
        }
        let heard = Heard()
        var handle: OpaquePointer?
        try Entry().cuLogsRegisterCallback(
            { data, level, message, length in
                guard let data, let message else { return }
                let heard = Unmanaged<Heard>.fromOpaque(data).takeUnretainedValue()
                let text = String(cString: message)
                heard.messages.append("\(level.rawValue) \(length == text.utf8.count) \(text)")
                // What fails in a callback is not told again.
                ErrorLog.shared.add("in a callback")
            }, Unmanaged.passUnretained(heard).toOpaque(), &handle)
        ErrorLog.shared.add("first")
        #expect(heard.messages == ["0 true first"])
        try Entry().cuLogsUnregisterCallback(handle)
        ErrorLog.shared.add("second")
        #expect(heard.messages.count == 1)
        #expect(throws: CUDAError.invalidValue) { try Entry().cuLogsUnregisterCallback(handle) }
        #expect(throws: CUDAError.invalidValue) { try Entry().cuLogsRegisterCallback(nil, nil, nil) }
    }

    @Test func exportsNoteWhatTheyReturn() throws {
        var iterator: CUlogIterator = 0
        try Entry().cuLogsCurrent(&iterator, 0)
        #expect(cuGetErrorName(CUDA_SUCCESS, nil) == CUDA_ERROR_INVALID_VALUE)
        #expect(try dump(&iterator).hasSuffix("Returning 1 (CUDA_ERROR_INVALID_VALUE) from cuGetErrorName\n"))
    }

    // MARK: Core dumps

    @Test func coreDumpSettingsCanBeSetAndReadButPromiseNoDump() throws {
        try Harness().run { harness in
            var size = 0
            try harness.shim.cuCoredumpGetAttribute(CU_COREDUMP_FILE, nil, &size)
            #expect(size == 1024)
            var buffer = [CChar](repeating: 0, count: 1024)
            try harness.shim.cuCoredumpGetAttribute(CU_COREDUMP_FILE, &buffer, &size)
            let name = dumpName(buffer)
            #expect(name.hasPrefix("core.cuda.") && name.hasSuffix(".\(getpid())"))
            var path = Array("/somewhere/else".utf8CString)
            size = path.count
            try harness.shim.cuCoredumpSetAttribute(CU_COREDUMP_FILE, &path, &size)
            size = 1024
            try harness.shim.cuCoredumpGetAttribute(CU_COREDUMP_FILE, &buffer, &size)
            #expect(dumpName(buffer) == "/somewhere/else")
            // The process's own are as before.
            try Entry().cuCoredumpGetAttributeGlobal(CU_COREDUMP_FILE, &buffer, &size)
            #expect(dumpName(buffer) == name)
            var isOn = true
            size = 1
            for attribute in [CU_COREDUMP_ENABLE_ON_EXCEPTION, CU_COREDUMP_ENABLE_USER_TRIGGER] {
                let code = harness.code { () throws(CUDAError) in
                    try harness.shim.cuCoredumpSetAttribute(attribute, &isOn, &size)
                }
                #expect(code == CUDA_ERROR_NOT_PERMITTED)
            }
            try harness.shim.cuCoredumpSetAttribute(CU_COREDUMP_LIGHTWEIGHT, &isOn, &size)
            var flags: UInt32 = 0
            size = 4
            try harness.shim.cuCoredumpGetAttribute(CU_COREDUMP_GENERATION_FLAGS, &flags, &size)
            #expect(flags & CU_COREDUMP_SKIP_GLOBAL_MEMORY.rawValue != 0)
            flags = 1 << 20
            let unknown = harness.code { () throws(CUDAError) in
                try harness.shim.cuCoredumpSetAttribute(CU_COREDUMP_GENERATION_FLAGS, &flags, &size)
            }
            #expect(unknown == CUDA_ERROR_INVALID_VALUE)
            size = 3
            let short = harness.code { () throws(CUDAError) in
                try harness.shim.cuCoredumpGetAttribute(CU_COREDUMP_FILE, &buffer, &size)
            }
            #expect(short == CUDA_ERROR_INVALID_VALUE)
        }
    }

    @Test func coreDumpCallbacksAreOfOneKind() throws {
        var start: OpaquePointer?
        try Entry().cuCoredumpRegisterStartCallback({ _, _, _ in }, nil, &start)
        #expect(throws: CUDAError.invalidValue) { try Entry().cuCoredumpDeregisterCompleteCallback(start) }
        try Entry().cuCoredumpDeregisterStartCallback(start)
        #expect(throws: CUDAError.invalidValue) { try Entry().cuCoredumpDeregisterStartCallback(start) }
        #expect(throws: CUDAError.invalidValue) { try Entry().cuCoredumpRegisterCompleteCallback(nil, nil, nil) }
    }

    // MARK: Launches as before CUDA 4

    @Test func launchesWithWhatTheFunctionKeeps() throws {
        try Harness().run { harness in
            let kernel = try harness.kernel()
            _ = harness.driver.takeCalls()
            let unshaped = harness.code { () throws(CUDAError) in try harness.shim.cuLaunch(kernel) }
            #expect(unshaped == CUDA_ERROR_INVALID_VALUE)
            try harness.shim.cuFuncSetBlockShape(kernel, 32, 2, 1)
            try harness.shim.cuFuncSetSharedSize(kernel, 128)
            try harness.shim.cuParamSetSize(kernel, 12)
            var pointer: UInt64 = 0x1122_3344_5566_7788
            try harness.shim.cuParamSetv(kernel, 0, &pointer, 8)
            try harness.shim.cuParamSeti(kernel, 8, 9)
            try harness.shim.cuLaunchGrid(kernel, 5, 3)
            #expect(harness.driver.takeCalls() == ["launch 5x32 on 0"])
            let sent = harness.driver.state.withLock { $0.parameters }
            #expect(sent == [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 9, 0, 0, 0])
            // What was set stays for the next launch.
            try harness.shim.cuParamSetf(kernel, 8, 1)
            try harness.shim.cuLaunch(kernel)
            #expect(harness.driver.state.withLock { $0.parameters.suffix(4) } == [0, 0, 0x80, 0x3f])
        }
    }

    @Test func refusesWhatNoLaunchCanHave() throws {
        try Harness().run { harness in
            let kernel = try harness.kernel()
            let calls: [() throws -> Void] = [
                { try harness.shim.cuFuncSetBlockShape(kernel, 0, 1, 1) },
                { try harness.shim.cuFuncSetBlockShape(kernel, 1024, 1, 1) },
                { try harness.shim.cuFuncSetSharedSize(kernel, 5000) },
                { try harness.shim.cuParamSetSize(kernel, 40_000) },
                { try harness.shim.cuParamSeti(kernel, -4, 1) },
                { try harness.shim.cuParamSeti(kernel, 32_762, 1) },
                { try harness.shim.cuParamSetv(kernel, 0, nil, 4) },
                { try harness.shim.cuLaunchGrid(kernel, 0, 1) },
            ]
            for call in calls { #expect(throws: CUDAError.invalidValue) { try call() } }
            let noFunction = harness.code { () throws(CUDAError) in try harness.shim.cuLaunch(nil) }
            #expect(noFunction == CUDA_ERROR_INVALID_HANDLE)
        }
    }
}

/// The text before the NUL in a buffer.
private func dumpName(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

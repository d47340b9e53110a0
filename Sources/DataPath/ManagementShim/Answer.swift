// SPDX-License-Identifier: Apache-2.0
import CCallTrace
import CallTrace
import Glibc
import Management

/// Answers an exported function, and records the call where it is asked for.
func traced(
    _ export: Export, _ arguments: (inout ArgumentWriter) -> Void = { _ in }, _ body: () -> UInt32
) -> UInt32 {
    let start = calltrace_begin()
    let result = body()
    if start.time != 0 {
        recordCall(export.rawValue, of: exportList, since: start, result: result, arguments: arguments)
    }
    return result
}

/// The same of the one function that returns a text.
func tracedText(
    _ export: Export, _ arguments: (inout ArgumentWriter) -> Void, _ body: () -> UnsafePointer<CChar>?
) -> UnsafePointer<CChar>? {
    var text: UnsafePointer<CChar>?
    _ = traced(export, arguments) {
        text = body()
        return NVMLCode.success
    }
    return text
}

/// What the exports of questions to the source call.
func ask(_ call: ManagementCall, _ arguments: Argument...) -> UInt32 { Library.shared.ask(call, arguments) }

/// What the exports of functions that are not offered call.
func absent(_ export: Export) -> UInt32 {
    traced(export) { Library.shared.withDeviceCount { _ in NVMLCode.notSupported } }
}

/// What the exports of functions that would change a GPU call.
func refused(_ export: Export) -> UInt32 {
    traced(export) { Library.shared.withDeviceCount { _ in NVMLCode.noPermission } }
}

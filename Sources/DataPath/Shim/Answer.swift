// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CCallTrace
import CallTrace
import Driver

/// Answers an exported function that needs an initialised driver, and records the call where it is asked for.
///
/// It allocates nothing and takes no lock of its own: a launch passes here.
@inline(__always)
func answer(
    _ export: Export, _ arguments: (inout ArgumentWriter) -> Void = { _ in }, _ body: (Shim) throws(CUDAError) -> Void
) -> CUresult {
    let start = calltrace_begin()
    let result = answer(body)
    if result != CUDA_SUCCESS { noteFailure(export, result) }
    if start.time != 0 { record(export, start, result, arguments) }
    return result
}

/// Answers an exported function that works before `cuInit`.
@inline(__always)
func answerAlways(
    _ export: Export, _ arguments: (inout ArgumentWriter) -> Void = { _ in }, _ body: (Entry) throws(CUDAError) -> Void
) -> CUresult {
    let start = calltrace_begin()
    var result = CUDA_SUCCESS
    do throws(CUDAError) { try body(Entry()) } catch { result = error.code }
    if result != CUDA_SUCCESS { noteFailure(export, result) }
    if start.time != 0 { record(export, start, result, arguments) }
    return result
}

/// Answers an exported function that is not implemented.
func absent(_ export: Export) -> CUresult {
    let start = calltrace_begin()
    let result = Startup.initialised == nil ? Startup.refusal : CUDA_ERROR_NOT_SUPPORTED
    noteFailure(export, result)
    if start.time != 0 { record(export, start, result) { _ in } }
    return result
}

/// Answers a function that needs an initialised driver and is no export, but in one of the private tables.
@inline(__always)
func answer(_ body: (Shim) throws(CUDAError) -> Void) -> CUresult {
    guard let shim = Startup.initialised else { return Startup.refusal }
    return shim._withUnsafeGuaranteedRef { shim in
        do throws(CUDAError) {
            try body(shim)
            return CUDA_SUCCESS
        } catch {
            return error.code
        }
    }
}

/// Keeps a failure in the error log.
///
/// That something is not done yet is an answer, not a failure.
@inline(never)
private func noteFailure(_ export: Export, _ result: CUresult) {
    guard result != CUDA_ERROR_NOT_READY else { return }
    let code = ErrorText(result).map { " (\($0.name))" } ?? ""
    ErrorLog.shared.add("Returning \(result.rawValue)\(code) from \(export)")
}

@inline(never)
private func record(
    _ export: Export, _ start: calltrace_start_t, _ result: CUresult, _ arguments: (inout ArgumentWriter) -> Void
) {
    recordCall(export.rawValue, of: exportList, since: start, result: result.rawValue, arguments: arguments)
}

/// Writes a result that the caller must have asked for.
@inline(__always)
func write<Value>(_ value: Value, to target: UnsafeMutablePointer<Value>?) throws(CUDAError) {
    guard let target else { throw .invalidValue }
    target.pointee = value
}

/// Writes a handle as the application sees it.
@inline(__always)
func write(handle bits: UInt64, to target: UnsafeMutablePointer<OpaquePointer?>?) throws(CUDAError) {
    guard let target else { throw .invalidValue }
    target.pointee = OpaquePointer(bitPattern: UInt(bits))
}

/// The bits of a handle that the application passed.
@inline(__always)
func bits(_ handle: OpaquePointer?) -> UInt64 { UInt64(UInt(bitPattern: handle)) }

/// The text of a C string that the application passed.
func text(_ pointer: UnsafePointer<CChar>?) throws(CUDAError) -> String {
    guard let pointer else { throw .invalidValue }
    return String(cString: pointer)
}

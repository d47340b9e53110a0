// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Answers an exported function that needs an initialised driver.
///
/// It allocates nothing and takes no lock of its own: a launch passes here.
@inline(__always)
func answer(_ symbol: StaticString, _ body: (Shim) throws(CUDAError) -> Void) -> CUresult {
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

/// Answers an exported function that works before `cuInit`.
@inline(__always)
func answerAlways(_ symbol: StaticString, _ body: (Entry) throws(CUDAError) -> Void) -> CUresult {
    do throws(CUDAError) {
        try body(Entry())
        return CUDA_SUCCESS
    } catch {
        return error.code
    }
}

/// Answers an exported function that is not implemented.
func absent(_ symbol: StaticString) -> CUresult {
    Startup.initialised == nil ? Startup.refusal : CUDA_ERROR_NOT_SUPPORTED
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

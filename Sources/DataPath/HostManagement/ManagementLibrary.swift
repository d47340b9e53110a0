// SPDX-License-Identifier: Apache-2.0
import Glibc

/// An opened libnvidia-ml.so.1.
///
/// Stays open, as the driver beside it does.
struct ManagementLibrary: @unchecked Sendable {
    private let handle: UnsafeMutableRawPointer

    init(path: String) throws(ManagementFailure) {
        guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
            throw ManagementFailure(
                "cannot open the management library \(path): \(dlerror().map { String(cString: $0) } ?? "")")
        }
        self.handle = handle
    }

    /// The function of that name, as the type that the caller's context asks for; nil where the library lacks it.
    ///
    /// SAFETY: the caller names the C type of the public interface.
    func function<Function>(_ name: String) -> Function? {
        guard let symbol = dlsym(handle, name) else { return nil }
        return unsafeBitCast(symbol, to: Function.self)
    }
}

/// Why a management library cannot be used, in words.
package struct ManagementFailure: Error, Sendable, CustomStringConvertible {
    package let message: String
    /// NVML's code, where the library says it itself.
    package let code: UInt32?

    init(_ message: String, code: UInt32? = nil) {
        self.message = message
        self.code = code
    }

    package var description: String { message }
}

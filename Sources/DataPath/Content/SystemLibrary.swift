// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A library of the machine that is used where it is there, and done without where it is not.
///
/// The client's library lives in other people's processes: it depends on nothing, and loads what it can use when it has
/// a use for it.
struct SystemLibrary: Sendable {
    private let handle: UInt

    /// The first of these names that the system's linker finds.
    init?(_ names: String...) {
        for name in names {
            guard let found = dlopen(name, RTLD_NOW | RTLD_LOCAL) else { continue }
            handle = UInt(bitPattern: found)
            return
        }
        return nil
    }

    /// The function of that name, as the type that the caller's context asks for; nil where the library lacks it.
    ///
    /// SAFETY: the caller names the C type of the public interface.
    func function<Function>(_ name: String) -> Function? {
        guard let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: handle), name) else { return nil }
        return unsafeBitCast(symbol, to: Function.self)
    }
}

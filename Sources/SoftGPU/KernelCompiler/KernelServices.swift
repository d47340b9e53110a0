// SPDX-License-Identifier: Apache-2.0
package import CSoftGPU

/// What a kernel may call out to: C functions of the device, each given `context` first.
///
/// Any may be absent.
///
/// They are called on the executor's threads, several at once, and must not wait for the launch that calls them.
package struct KernelServices: @unchecked Sendable {
    // SAFETY: the pointers are only handed on; whoever makes the value promises that they outlive the launch.
    package var raw: sg_services

    /// `vprintf(context, format, arguments)` prints, see `formatPrintf`, and returns what the kernel's printf returns.
    package typealias Print =
        @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<CChar>?, UnsafeRawPointer?) -> Int32
    /// `assertFail(context, message, file, line, function, block[3], thread[3])` reports; the launch is then ended.
    package typealias AssertFail =
        @convention(c) (
            UnsafeMutableRawPointer?, UnsafePointer<CChar>?, UnsafePointer<CChar>?, UInt32, UnsafePointer<CChar>?,
            UnsafePointer<UInt32>?, UnsafePointer<UInt32>?
        ) -> Void
    /// `allocate(context, bytes)` takes memory from the device's heap, or returns nil.
    package typealias Allocate = @convention(c) (UnsafeMutableRawPointer?, UInt64) -> UnsafeMutableRawPointer?
    package typealias Release = @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Void

    package init(
        context: UnsafeMutableRawPointer? = nil, vprintf: Print? = nil, assertFail: AssertFail? = nil,
        allocate: Allocate? = nil, release: Release? = nil
    ) {
        raw = sg_services(
            context: context, vprintf: vprintf, assert_fail: assertFail, allocate: allocate, release: release)
    }
}

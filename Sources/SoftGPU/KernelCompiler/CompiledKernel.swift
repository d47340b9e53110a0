// SPDX-License-Identifier: Apache-2.0
import CSoftGPU

/// A kernel in the host's machine code.
///
/// Lives as long as somebody holds it.
package final class CompiledKernel: @unchecked Sendable {
    // SAFETY: everything is set once in `init`; the code pointers stay valid while `code` is held.
    package let description: KernelDescription
    let loop: sg_loop_function?
    let start: sg_start_function?
    /// The size of one thread's frame; 0 for kernels that run as loops.
    package let frameBytes: Int
    private let code: CompiledCode

    init(
        description: KernelDescription, code: CompiledCode, loop: sg_loop_function?, start: sg_start_function?,
        frameBytes: Int
    ) {
        self.description = description
        self.code = code
        self.loop = loop
        self.start = start
        self.frameBytes = frameBytes
    }

    /// Whether a block is one loop over its threads, because none of them waits for another.
    package var isLoop: Bool { loop != nil }
}

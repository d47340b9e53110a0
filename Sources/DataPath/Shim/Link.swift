// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization

/// What an application gathers for the linker.
///
/// The driver sees it when it is complete.
final class Link: Sendable {
    struct State {
        var inputs: [LinkInput] = []
        /// Bytes of all inputs.
        var inputBytes = 0
        /// Address and size of the result, which the application may read until it ends the link.
        var result: (address: UInt, bytes: Int)?
    }

    let bits: UInt64
    let options: [JITOption]
    let state = Mutex(State())
    /// The application's log buffers: they must live until the link ends, as CUDA documents.
    private let logs: Mutex<JITOptionsBox>

    /// Keeps options with their pointers into the application's memory.
    struct JITOptionsBox: @unchecked Sendable {
        let options: JITOptions
    }

    init(bits: UInt64, options: JITOptionsBox) {
        self.bits = bits
        self.options = options.options.numbers
        logs = Mutex(options)
    }

    func report(_ log: JITLog) { logs.withLock { $0.options.report(log) } }

    deinit {
        if let result = state.withLock({ $0.result }) {
            UnsafeMutableRawPointer(bitPattern: result.address)?.deallocate()
        }
    }
}

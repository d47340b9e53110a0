// SPDX-License-Identifier: Apache-2.0
package import Driver

extension WireReader {
    @_lifetime(self: copy self)
    package mutating func read(_ type: ShareableHandle.Type) throws(WireError) -> ShareableHandle {
        let bytes = try read(count: ShareableHandle.byteCount).withUnsafeBytes { Array($0) }
        guard let handle = ShareableHandle(bytes) else { throw .notThisProtocol }
        return handle
    }
}

extension FrameWriter {
    package mutating func write(_ handle: ShareableHandle) { handle.bytes.withUnsafeBytes { write(bytes: $0) } }
}

extension PayloadWriter {
    package mutating func write(_ handle: ShareableHandle) { handle.bytes.forEach { write($0) } }
}

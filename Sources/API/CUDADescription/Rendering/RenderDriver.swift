// SPDX-License-Identifier: Apache-2.0

/// The `Driver` protocol.
package func renderDriver(_ calls: [DriverCall]) -> String {
    var text = header(imports: ["package import CCUDA"])
    text += "/// A CUDA driver: the machine's own, a remote one, or the software GPU.\n///\n"
    text +=
        "/// Results are returned, blocks are spans, a refusal is thrown. Every handle is one that the same driver made.\n"
    text += "/// The calls of one thread are performed in their order; all of them may be called from any thread.\n"
    text += "package protocol Driver: Sendable {\n"
    text += "    /// The driver's version and devices, asked once.\n"
    text += "    func describe() throws(CUDAError) -> DriverDescription\n\n"
    text +=
        "    /// Host memory to which a copy from the device does not wait for the stream. Freed by ``cuMemFreeHost(_:_:)``.\n"
    text += "    func cuMemAllocHost_v2(\n        _ context: ContextHandle, bytesize: Int\n"
    text += "    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer\n\n"
    text += "    /// Frees host memory, after the copies to it.\n"
    text += "    func cuMemFreeHost(_ context: ContextHandle, _ memory: UnsafeMutableRawBufferPointer)\n"
    for call in calls {
        text += "\n    /// \(call.summary)\n    \(call.declaration)\n"
    }
    return text + "}\n"
}

/// The numbers of the calls on the wire.
package func renderCalls(_ calls: [DriverCall]) -> String {
    var text = header(imports: [])
    text += "/// The number of each call on the wire.\npackage enum Call: UInt16, CaseIterable, Sendable {\n"
    for (number, call) in calls.enumerated() { text += "    case \(call.name) = \(number)\n" }
    return text + "}\n"
}

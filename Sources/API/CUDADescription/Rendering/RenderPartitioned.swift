// SPDX-License-Identifier: Apache-2.0

/// The calls that a partition passes on as they are.
package func renderPartitioned(_ calls: [DriverCall]) -> String {
    var text = header(imports: ["package import CCUDA", "package import Driver"])
    text += "extension PartitionedDriver {\n"
    for (index, call) in calls.filter({ !partitionedByHand.contains($0.name) }).enumerated() {
        text += (index == 0 ? "" : "\n") + "    package \(call.declaration) {\n"
        text += "        try driver.\(call.forwarding)\n    }\n"
    }
    return text + "}\n"
}

/// The calls in which a partition differs: devices are renumbered, and memory is counted, when it is taken and when the
/// driver gives it back.
package let partitionedByHand: Set<String> = [
    "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2", "cuDevicePrimaryCtxSetFlags_v2", "cuCtxCreate_v2",
    "cuCtxDestroy_v2", "cuCtxSetLimit", "cuCtxSynchronize", "cuModuleLoadDataEx", "cuModuleUnload",
    "cuLaunchHostFunc", "cuMemAlloc_v2", "cuMemAllocPitch_v2", "cuMemFree_v2", "cuMemGetInfo_v2", "cuMemAllocAsync",
    "cuMemAllocFromPoolAsync",
    "cuMemFreeAsync", "cuMemPoolCreate", "cuMemPoolDestroy", "cuMemPoolTrimTo", "cuDeviceGetDefaultMemPool",
    "cuStreamSynchronize", "cuEventSynchronize", "cuEventDestroy_v2", "cuIpcGetMemHandle", "cuIpcOpenMemHandle_v2",
    "cuIpcCloseMemHandle", "cuIpcGetEventHandle", "cuIpcOpenEventHandle", "cuGraphInstantiate", "cuGraphExecDestroy",
    "cuMemCreate", "cuMemRelease", "cuMemMap", "cuMemUnmap", "cuMemSetAccess", "cuMemGetAllocationGranularity",
    "cuMemExportToShareableHandle", "cuMemImportFromShareableHandle", "cuArray3DCreate_v2", "cuArrayDestroy",
    "cuMipmappedArrayCreate", "cuMipmappedArrayDestroy", "cuDeviceGetDevResource", "cuGreenCtxCreate",
    "cuMemPoolExportToShareableHandle", "cuMemPoolImportFromShareableHandle", "cuMemPoolExportPointer",
    "cuMemPoolImportPointer", "cuMulticastCreate", "cuMulticastAddDevice", "cuMulticastBindMem_v2",
    "cuMulticastBindAddr_v2", "cuMulticastUnbind",
]

extension DriverCall {
    /// A call of the method with the method's own arguments.
    fileprivate var forwarding: String {
        guard case .byHand(let declaration) = halves, let open = declaration.firstIndex(of: "("),
            let close = declaration.range(of: ") throws(CUDAError)")?.lowerBound
        else { return "\(name)(\(callList()))" }
        // Splits the parameters at the commas that are not inside a type.
        var parameters: [String] = []
        var depth = 0
        var current = ""
        for character in declaration[declaration.index(after: open)..<close] {
            if character == "(" || character == "<" || character == "[" { depth += 1 }
            if character == ")" || character == "]" || (character == ">" && !current.hasSuffix("-")) { depth -= 1 }
            if character == "," && depth == 0 {
                parameters.append(current)
                current = ""
            } else {
                current.append(character)
            }
        }
        parameters.append(current)
        let list = parameters.map { parameter -> String in
            let head = parameter.prefix { $0 != ":" }.split(separator: " ").map(String.init)
            let label = head.first ?? ""
            let variable = head.last ?? ""
            let value = parameter.contains(": inout ") ? "&\(variable)" : variable
            return label == "_" ? value : "\(label): \(value)"
        }
        return "\(name)(\(list.joined(separator: ", ")))"
    }
}

extension String {
    fileprivate func range(of text: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}

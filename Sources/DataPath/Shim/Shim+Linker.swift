// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// The linker: inputs are gathered here, linking is one call of the driver.
extension Shim {
    /// Bytes of all inputs of one link.
    private static var linkBytesMax: Int { 1 << 30 }

    func cuLinkCreate_v2(
        _ numOptions: UInt32, _ options: UnsafeMutablePointer<CUjit_option>?,
        _ optionValues: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ stateOut: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        _ = try activeContext()
        guard stateOut != nil else { throw .invalidValue }
        let options = Link.JITOptionsBox(options: try JITOptions(numOptions, options, optionValues))
        let link = try links.insert { bits in Link(bits: bits, options: options) }
        try write(handle: link.bits, to: stateOut)
    }

    func cuLinkAddData_v2(
        _ state: OpaquePointer?, _ type: CUjitInputType, _ data: UnsafeMutableRawPointer?, _ size: Int,
        _ name: UnsafePointer<CChar>?, _ numOptions: UInt32, _ options: UnsafeMutablePointer<CUjit_option>?,
        _ optionValues: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) throws(CUDAError) {
        let link = try links.object(state)
        guard let data, size > 0, size <= Self.linkBytesMax else { throw .invalidValue }
        let options = try JITOptions(numOptions, options, optionValues)
        let bytes = Array(UnsafeRawBufferPointer(start: data, count: size))
        try add(bytes, type, name: name.map { String(cString: $0) } ?? "", options, to: link)
    }

    func cuLinkAddFile_v2(
        _ state: OpaquePointer?, _ type: CUjitInputType, _ path: UnsafePointer<CChar>?, _ numOptions: UInt32,
        _ options: UnsafeMutablePointer<CUjit_option>?, _ optionValues: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) throws(CUDAError) {
        let link = try links.object(state)
        let path = try text(path)
        let options = try JITOptions(numOptions, options, optionValues)
        try add(try readFile(path, limit: Self.linkBytesMax), type, name: path, options, to: link)
    }

    func cuLinkComplete(
        _ state: OpaquePointer?, _ cubinOut: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
        _ sizeOut: UnsafeMutablePointer<Int>?
    ) throws(CUDAError) {
        let link = try links.object(state)
        guard let cubinOut else { throw .invalidValue }
        var result = link.state.withLock { $0.result }
        if result == nil { result = try complete(link) }
        cubinOut.pointee = result.flatMap { UnsafeMutableRawPointer(bitPattern: $0.address) }
        sizeOut?.pointee = result?.bytes ?? 0
    }

    func cuLinkDestroy(_ state: OpaquePointer?) throws(CUDAError) {
        guard links.remove(bits(state)) != nil else { throw .invalidHandle }
    }

    private func add(
        _ bytes: [UInt8], _ type: CUjitInputType, name: String, _ options: JITOptions, to link: Link
    ) throws(CUDAError) {
        guard type.rawValue < CU_JIT_NUM_INPUT_TYPES.rawValue else { throw .invalidValue }
        try link.state.withLock { state throws(CUDAError) in
            guard state.result == nil else { throw .invalidHandle }
            guard state.inputBytes + bytes.count <= Self.linkBytesMax else { throw .outOfMemory }
            state.inputBytes += bytes.count
            state.inputs.append(
                LinkInput(type: type.rawValue, name: name, bytes: bytes, options: options.numbers))
        }
    }

    private func complete(_ link: Link) throws(CUDAError) -> (address: UInt, bytes: Int) {
        var log = JITLog()
        let inputs = link.state.withLock { $0.inputs }
        let linked: [UInt8]
        do throws(CUDAError) {
            linked = try driver.cuLinkComplete(
                try activeContext().handle, inputs: inputs, options: link.options, log: &log)
        } catch {
            link.report(log)
            throw error
        }
        link.report(log)
        // A NUL follows, so that a result that is text can be passed on by its address alone.
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: linked.count + 1, alignment: 16)
        copy.copyBytes(from: linked)
        copy[linked.count] = 0
        let result = (address: UInt(bitPattern: copy.baseAddress), bytes: linked.count)
        link.state.withLock { $0.result = result }
        return result
    }
}

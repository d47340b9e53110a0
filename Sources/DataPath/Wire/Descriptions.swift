// SPDX-License-Identifier: Apache-2.0
package import Driver

// How the descriptions of Driver travel.

extension PayloadWriter {
    package mutating func write(_ description: DriverDescription) {
        write(description.version)
        write(UInt32(description.devices.count))
        for device in description.devices {
            write(text: device.name)
            bytesOfUUID(device.uuid).forEach { write($0) }
            write(device.totalBytes)
            write(UInt32(device.attributes.count))
            device.attributes.forEach { write($0) }
            write(UInt32(device.canAccessPeer.count))
            device.canAccessPeer.forEach { write(UInt8($0 ? 1 : 0)) }
            write(device.leastPriority)
            write(device.greatestPriority)
        }
    }

    package mutating func write(_ description: FunctionDescription) {
        write(description.function.bits)
        write(UInt32(description.parameters.count))
        for parameter in description.parameters {
            write(UInt32(parameter.offset))
            write(UInt32(parameter.size))
        }
        write(UInt32(description.attributes.count))
        description.attributes.forEach { write($0) }
    }

    package mutating func write(_ options: [JITOption]) {
        write(UInt32(options.count))
        for option in options {
            write(option.option)
            write(option.value)
        }
    }

    package mutating func write(_ inputs: [LinkInput]) {
        write(UInt32(inputs.count))
        for input in inputs {
            write(input.type)
            write(text: input.name)
            write(block: input.bytes)
            write(input.options)
        }
    }

    package mutating func write(_ log: JITLog) {
        write(text: log.info)
        write(text: log.error)
    }

    private func bytesOfUUID(_ uuid: [UInt8]) -> [UInt8] {
        Array((uuid + [UInt8](repeating: 0, count: 16)).prefix(16))
    }
}

extension WireReader {
    @_lifetime(self: copy self)
    package mutating func readDriverDescription() throws(WireError) -> DriverDescription {
        let version = try read(Int32.self)
        var devices: [DeviceDescription] = []
        for _ in 0..<(try readCount()) {
            let name = try readText()
            var uuid: [UInt8] = []
            for _ in 0..<16 { uuid.append(try read(UInt8.self)) }
            let totalBytes = try read(Int.self)
            var attributes: [Int32] = []
            for _ in 0..<(try readCount()) { attributes.append(try read(Int32.self)) }
            var peers: [Bool] = []
            for _ in 0..<(try readCount()) { peers.append(try read(UInt8.self) != 0) }
            devices.append(
                DeviceDescription(
                    name: name, uuid: uuid, totalBytes: totalBytes, attributes: attributes, canAccessPeer: peers,
                    leastPriority: try read(Int32.self), greatestPriority: try read(Int32.self)))
        }
        return DriverDescription(version: version, devices: devices)
    }

    @_lifetime(self: copy self)
    package mutating func readFunctionDescription() throws(WireError) -> FunctionDescription {
        let function = FunctionHandle(bits: try read(UInt64.self))
        var parameters: [KernelParameter] = []
        for _ in 0..<(try readCount()) {
            let offset = Int(try read(UInt32.self))
            let size = Int(try read(UInt32.self))
            guard offset + size <= Limits.parameterBytesMax else {
                throw .tooLong(offset + size, limit: Limits.parameterBytesMax)
            }
            parameters.append(KernelParameter(offset: offset, size: size))
        }
        var attributes: [Int32] = []
        for _ in 0..<(try readCount()) { attributes.append(try read(Int32.self)) }
        return FunctionDescription(function: function, parameters: parameters, attributes: attributes)
    }

    @_lifetime(self: copy self)
    package mutating func readJITOptions() throws(WireError) -> [JITOption] {
        var options: [JITOption] = []
        for _ in 0..<(try readCount()) {
            options.append(JITOption(option: try read(UInt32.self), value: try read(UInt64.self)))
        }
        return options
    }

    @_lifetime(self: copy self)
    package mutating func readLinkInputs() throws(WireError) -> [LinkInput] {
        var inputs: [LinkInput] = []
        for _ in 0..<(try readCount()) {
            let type = try read(UInt32.self)
            let name = try readText()
            let bytes = try readBytes(limit: Limits.frameBytesMax).withUnsafeBytes { Array($0) }
            inputs.append(LinkInput(type: type, name: name, bytes: bytes, options: try readJITOptions()))
        }
        return inputs
    }

    @_lifetime(self: copy self)
    package mutating func readJITLog() throws(WireError) -> JITLog {
        var log = JITLog()
        log.info = try readText()
        log.error = try readText()
        return log
    }
}

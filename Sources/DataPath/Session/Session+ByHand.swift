// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Wire

extension Session {
    /// Answers whether a stream or an event is done, for which an error is an ordinary answer: thrown on, it would cost
    /// an allocation each time a program asks.
    ///
    /// nil for any other call.
    func performQuery(
        _ call: Call, _ frame: FrameHeader, _ request: inout WireReader
    ) throws(WireError) -> CUresult? {
        guard call == .cuEventQuery || call == .cuStreamQuery, frame.flags.contains(.wantsReply) else { return nil }
        let number = try request.read(UInt64.self)
        try request.finish()
        do throws(CUDAError) {
            let context = try contexts.driverHandle(frame.context)
            if call == .cuEventQuery {
                try driver.cuEventQuery(context, hEvent: events.driverHandle(number))
            } else {
                try driver.cuStreamQuery(context, hStream: streams.driverHandle(number))
            }
            return CUDA_SUCCESS
        } catch {
            return error.code
        }
    }

    func perform_cuDevicePrimaryCtxRelease_v2(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let device = try request.read(Int32.self)
        try request.finish()
        try freeLandings(of: frame.context)
        try driver.cuDevicePrimaryCtxRelease_v2(dev: device, context: contexts.driverHandle(frame.context))
        contexts.remove(frame.context)
        primaryContexts[device] = nil
        forgetStreams(of: frame.context)
    }

    /// Frees the landing places of a context that is about to end.
    func freeLandings(of context: UInt64) throws(CUDAError) {
        let handle = try contexts.driverHandle(context)
        for landing in idleLandings.removeValue(forKey: context) ?? [] { driver.cuMemFreeHost(handle, landing) }
    }

    /// Drops what this session keeps of a context that has ended.
    func forgetStreams(of context: UInt64) {
        idleEvents[context] = nil
        orphanedWork[context] = nil
        textures.forget(context)
        surfaces.forget(context)
        contextOfStream = contextOfStream.filter { $0.value != context }
    }

    /// The streams of a green context that has ended take no more work, and nobody waits for them.
    func detachStreams(of greenContext: UInt64) {
        for (stream, owner) in greenContextOfStream where owner == greenContext {
            contextOfStream[stream] = nil
            greenContextOfStream[stream] = nil
        }
    }

    func perform_cuLinkComplete(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let options = try request.readJITOptions()
        let inputs = try request.readLinkInputs()
        try request.finish()
        var log = JITLog()
        let context = try contexts.driverHandle(frame.context)
        do throws(CUDAError) {
            let image = try driver.cuLinkComplete(context, inputs: inputs, options: options, log: &log)
            reply.write(log)
            image.forEach { reply.write($0) }
        } catch {
            reply.write(log)
            throw error
        }
    }

    func perform_cuModuleGetFunction(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let made = try request.read(UInt64.self)
        let module = try request.read(UInt64.self)
        let name = try request.readText()
        try request.finish()
        let description = try driver.cuModuleGetFunction(
            contexts.driverHandle(frame.context), hmod: modules.driverHandle(module), name: name)
        try functions.insert(made, description.function)
        reply.write(description)
    }

    func perform_cuModuleEnumerateFunctions(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let module = try request.read(UInt64.self)
        try request.finish()
        let names = try driver.cuModuleEnumerateFunctions(
            contexts.driverHandle(frame.context), hmod: modules.driverHandle(module))
        reply.write(UInt32(names.count))
        names.forEach { reply.write(text: $0) }
    }

    func perform_cuLaunchKernel(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let function = try request.read(UInt64.self)
        let stream = try request.read(UInt64.self)
        let geometry = try request.readLaunchGeometry()
        let parameters = try request.readBlock()
        guard parameters.byteCount <= Limits.parameterBytesMax else {
            throw WireError.tooLong(parameters.byteCount, limit: Limits.parameterBytesMax)
        }
        try parameters.withUnsafeBytes { bytes throws(CUDAError) in
            try driver.cuLaunchKernel(
                contexts.driverHandle(frame.context), f: functions.driverHandle(function), geometry,
                stream: streams.driverHandle(stream), parameters: bytes)
        }
    }

    func perform_cuLaunchHostFunc(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let stream = try request.read(UInt64.self)
        let number = try request.read(UInt64.self)
        try request.finish()
        hostFunctions.expect()
        do throws(CUDAError) {
            try driver.cuLaunchHostFunc(
                contexts.driverHandle(frame.context), stream: streams.driverHandle(stream)
            ) { [hostFunctions] in hostFunctions.callAndWait(number) }
        } catch {
            hostFunctions.forget()
            throw error
        }
    }

    func perform_cuMemcpy3DAsync_v2(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let target = try readBox(&request)
        let source = try readBox(&request)
        let extent = try request.readExtent()
        let stream = try request.read(UInt64.self)
        try request.finish()
        try driver.cuMemcpy3DAsync_v2(
            contexts.driverHandle(frame.context), target: target, source: source, extent: extent,
            stream: streams.driverHandle(stream))
    }

    func perform_cuMemcpy3DHtoDAsync(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let target = try readBox(&request)
        let extent = try request.readExtent()
        let stream = try request.read(UInt64.self)
        let source = try request.readBlock()
        guard extent.byteCount == source.byteCount else { throw WireError.trailingBytes(source.byteCount) }
        try driver.cuMemcpy3DHtoDAsync(
            contexts.driverHandle(frame.context), target: target, packed: source, extent: extent,
            stream: streams.driverHandle(stream))
    }
}

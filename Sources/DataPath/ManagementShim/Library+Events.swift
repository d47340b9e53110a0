// SPDX-License-Identifier: Apache-2.0
import CNVML
import Glibc
import Management
import Wire

// Events of the server. Whoever waits for one asks the server now and then whether it has come, so that the connection
// is free for other threads meanwhile.

extension Library {
    /// An event is noticed so long after it has happened.
    private static let lookMilliseconds: Int64 = 50

    func nvmlEventSetCreate(_ set: UnsafeMutableRawPointer?) -> UInt32 {
        withDeviceCount { _ in
            guard set != nil else { return NVMLCode.invalidArgument }
            guard let made = eventSets.make() else { return NVMLCode.insufficientResources }
            return store(made, at: set)
        }
    }

    func nvmlEventSetFree(_ set: UnsafeMutableRawPointer?) -> UInt32 {
        withEventSet(set) { number, source in
            let isRegistered = !eventSets.types(in: number).isEmpty
            eventSets.remove(number)
            // A server that does not know it any more has freed it.
            if isRegistered { _ = source.ask(.nvmlEventSetFree, [number]) }
            return NVMLCode.success
        }
    }

    func nvmlDeviceRegisterEvents(
        _ device: UnsafeMutableRawPointer?, _ types: UInt64, _ set: UnsafeMutableRawPointer?
    ) -> UInt32 {
        withEventSet(set) { number, source in
            guard let index = DeviceHandle.index(of: device, count: deviceCount) else {
                return NVMLCode.invalidArgument
            }
            let status = Library.register(types, of: index, in: number, source)
            if status == NVMLCode.success { eventSets.add(types, of: index, in: number) }
            return status
        }
    }

    /// The first form, which ends before the instances.
    func nvmlEventSetWait(
        _ set: UnsafeMutableRawPointer?, _ data: UnsafeMutableRawPointer?, _ milliseconds: UInt32
    ) -> UInt32 {
        wait(set, data, milliseconds, byteCount: 24)
    }

    func nvmlEventSetWait_v2(
        _ set: UnsafeMutableRawPointer?, _ data: UnsafeMutableRawPointer?, _ milliseconds: UInt32
    ) -> UInt32 {
        wait(set, data, milliseconds, byteCount: MemoryLayout<nvmlEventData_t>.size)
    }

    /// Waits as long as the caller wants to.
    private func wait(
        _ set: UnsafeMutableRawPointer?, _ data: UnsafeMutableRawPointer?, _ milliseconds: UInt32, byteCount: Int
    ) -> UInt32 {
        guard let data else { return withEventSet(set) { _, _ in NVMLCode.invalidArgument } }
        let deadline = Library.milliseconds() + Int64(milliseconds)
        while true {
            var event = nvmlEventData_t()
            let status = withEventSet(set) { look(into: $0, $1, &event) }
            if status == NVMLCode.success {
                withUnsafeBytes(of: event) { bytes in
                    if let start = bytes.baseAddress { data.copyMemory(from: start, byteCount: byteCount) }
                }
            }
            let left = deadline - Library.milliseconds()
            guard status == NVMLCode.timeout, left > 0 else { return status }
            // A signal ends the pause, which does no harm.
            usleep(UInt32(min(left, Library.lookMilliseconds)) * 1000)
        }
    }

    /// NVML_ERROR_TIMEOUT when nothing has happened.
    private func look(into number: UInt32, _ source: any ManagementSource, _ event: inout nvmlEventData_t) -> UInt32 {
        let types = eventSets.types(in: number)
        guard !types.isEmpty else { return NVMLCode.timeout }
        let answer = source.ask(.nvmlEventSetWait_v2, [number])
        guard answer.status != NVMLCode.notFound else {
            // Another worker, as after a fork: what happened meanwhile is lost.
            let codes = types.map { Library.register($0.value, of: $0.key, in: number, source) }
            return codes.first { $0 != NVMLCode.success } ?? NVMLCode.timeout
        }
        guard answer.status == NVMLCode.success else { return answer.status }
        var reader = ValueReader(answer.bytes)
        do throws(MalformedQuestion) {
            let device = Int(try reader.value(UInt32.self))
            guard device < deviceCount else { throw MalformedQuestion() }
            event.device = DeviceHandle.handle(device)
            event.eventType = try reader.value(UInt64.self)
            event.eventData = try reader.value(UInt64.self)
            event.gpuInstanceId = try reader.value(UInt32.self)
            event.computeInstanceId = try reader.value(UInt32.self)
            return NVMLCode.success
        } catch {
            return NVMLCode.unknown
        }
    }

    private static func register(
        _ types: UInt64, of device: Int, in number: UInt32, _ source: any ManagementSource
    ) -> UInt32 {
        var writer = PayloadWriter()
        writer.write(number)
        writer.write(UInt32(device))
        writer.write(types)
        return source.answer(ManagementQuestion(.nvmlDeviceRegisterEvents, bytes: writer.bytes)).status
    }

    private func withEventSet(
        _ set: UnsafeMutableRawPointer?, _ body: (UInt32, any ManagementSource) -> UInt32
    ) -> UInt32 {
        LibraryLock.withLock {
            guard let source else { return NVMLCode.uninitialized }
            guard let number = eventSets.number(of: set) else { return NVMLCode.invalidArgument }
            return body(number, source)
        }
    }

    private static func milliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}

// SPDX-License-Identifier: Apache-2.0
import CNVML
import Management
import Wire

// Events of the server's GPUs. A client's set is one of the library, made when its first events are registered. The
// client asks again and again whether something has happened, and is never made to wait here, where its other
// questions would wait too.
//
// The forms in which these calls travel: the number of the set; to register, then the device and the `UInt64` of types.
// What has happened is the device, type and data (`UInt64` each), and the numbers of the two instances.

extension HostManagement {
    /// Nil for questions about other things.
    func answerAboutEvents(_ question: ManagementQuestion) -> ManagementAnswer? {
        var reader = ValueReader(question.bytes)
        do throws(MalformedQuestion) {
            switch question.call {
            case .nvmlDeviceRegisterEvents:
                let (set, device) = (try reader.value(UInt32.self), Int(try reader.value(UInt32.self)))
                let types = try reader.value(UInt64.self)
                try reader.finish()
                guard devices.indices.contains(device) else { throw MalformedQuestion() }
                return ManagementAnswer(register(types, of: devices[device], in: set))
            case .nvmlEventSetWait_v2:
                let set = try reader.value(UInt32.self)
                try reader.finish()
                return lookForEvent(in: set)
            case .nvmlEventSetFree:
                let set = try reader.value(UInt32.self)
                try reader.finish()
                return ManagementAnswer(freeEventSet(set))
            default: return nil
            }
        } catch {
            return ManagementAnswer(NVMLCode.invalidArgument)
        }
    }

    private func register(_ types: UInt64, of device: UnsafeMutableRawPointer, in number: UInt32) -> UInt32 {
        typealias Create = @convention(c) (UnsafeMutableRawPointer?) -> UInt32
        typealias Register = @convention(c) (UnsafeMutableRawPointer?, UInt64, UnsafeMutableRawPointer?) -> UInt32
        guard let create: Create = library.function("nvmlEventSetCreate"),
            let register: Register = library.function("nvmlDeviceRegisterEvents")
        else { return NVMLCode.functionNotFound }
        if eventSets[number] == nil {
            guard eventSets.count < ManagementLimits.eventSetsMax else { return NVMLCode.insufficientResources }
            var set: UnsafeMutableRawPointer?
            let status = withUnsafeMutablePointer(to: &set) { create($0) }
            guard status == NVMLCode.success else { return status }
            eventSets[number] = set
        }
        return register(device, types, eventSets[number])
    }

    /// NVML_ERROR_NOT_FOUND for a set in which nothing was registered on this connection.
    private func lookForEvent(in number: UInt32) -> ManagementAnswer {
        typealias Wait = @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, UInt32) -> UInt32
        guard let set = eventSets[number] else { return ManagementAnswer(NVMLCode.notFound) }
        // Older libraries have the first form alone, which leaves the instances as they are.
        let found: Wait? = library.function("nvmlEventSetWait_v2")
        guard let wait = found ?? library.function("nvmlEventSetWait") else {
            return ManagementAnswer(NVMLCode.functionNotFound)
        }
        var event = nvmlEventData_t(
            device: nil, eventType: 0, eventData: 0, gpuInstanceId: .max, computeInstanceId: .max)
        let status = withUnsafeMutablePointer(to: &event) { wait(set, $0, 0) }
        guard status == NVMLCode.success else { return ManagementAnswer(status) }
        guard let device = devices.firstIndex(where: { $0 == event.device }) else {
            return ManagementAnswer(NVMLCode.timeout)
        }
        var writer = PayloadWriter()
        writer.write(UInt32(device))
        writer.write(event.eventType)
        writer.write(event.eventData)
        writer.write(event.gpuInstanceId)
        writer.write(event.computeInstanceId)
        return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
    }

    func freeEventSet(_ number: UInt32) -> UInt32 {
        guard let set = eventSets.removeValue(forKey: number) else { return NVMLCode.success }
        let free: (@convention(c) (UnsafeMutableRawPointer?) -> UInt32)? = library.function("nvmlEventSetFree")
        return free?(set) ?? NVMLCode.functionNotFound
    }
}

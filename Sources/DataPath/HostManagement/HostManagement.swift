// SPDX-License-Identifier: Apache-2.0
import Glibc
package import Management

/// The management library of this machine: a libnvidia-ml.so.1 that is opened by its path, NVIDIA's or the software
/// GPU's.
///
/// It shows certain devices in a certain order: those of an allocation, or all.
package final class HostManagement: ManagementSource {
    let library: ManagementLibrary
    /// The library's handles of the devices that are shown.
    let devices: [UnsafeMutableRawPointer]
    /// The library's sets of events, by the client's numbers of them.
    var eventSets: [UInt32: UnsafeMutableRawPointer] = [:]

    /// Opens and initialises a library; shows all devices when `uuids` is nil.
    package init(path: String, uuids: [String]? = nil) throws(ManagementFailure) {
        library = try ManagementLibrary(path: path)
        guard let initialise: @convention(c) () -> UInt32 = library.function("nvmlInit_v2") else {
            throw ManagementFailure("\(path) is not a management library: it has no nvmlInit_v2")
        }
        let code = initialise()
        guard code == NVMLCode.success else {
            throw ManagementFailure("the management library \(path) does not start: NVML error \(code)", code: code)
        }
        if let uuids {
            var found: [UnsafeMutableRawPointer] = []
            for uuid in uuids { found.append(try HostManagement.device(of: library, uuid: uuid)) }
            devices = found
        } else {
            devices = HostManagement.allDevices(of: library)
        }
    }

    deinit {
        eventSets.keys.forEach { _ = freeEventSet($0) }
        let shutDown: (@convention(c) () -> UInt32)? = library.function("nvmlShutdown")
        _ = shutDown?()
    }

    /// The library that belongs to a driver: the one beside it, or the one that the system's linker finds.
    package static func path(beside driver: String) -> String {
        let name = "libnvidia-ml.so.1"
        guard let end = driver.lastIndex(of: "/") else { return name }
        let neighbour = driver[...end] + name
        return access(String(neighbour), R_OK) == 0 ? String(neighbour) : name
    }

    /// CUDA and NVML number devices differently; both know the UUID.
    private static func device(
        of library: ManagementLibrary, uuid: String
    ) throws(ManagementFailure) -> UnsafeMutableRawPointer {
        typealias Find = @convention(c) (UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> UInt32
        var device: UnsafeMutableRawPointer?
        let find: Find? = library.function("nvmlDeviceGetHandleByUUID")
        let code = withUnsafeMutablePointer(to: &device) { find?(uuid, $0) ?? NVMLCode.functionNotFound }
        guard code == NVMLCode.success, let device else {
            throw ManagementFailure("the management library does not know the GPU \(uuid): NVML error \(code)")
        }
        return device
    }

    private static func allDevices(of library: ManagementLibrary) -> [UnsafeMutableRawPointer] {
        typealias Count = @convention(c) (UnsafeMutablePointer<UInt32>?) -> UInt32
        typealias Find = @convention(c) (UInt32, UnsafeMutableRawPointer?) -> UInt32
        var count: UInt32 = 0
        guard let countDevices: Count = library.function("nvmlDeviceGetCount_v2"),
            let find: Find = library.function("nvmlDeviceGetHandleByIndex_v2"),
            countDevices(&count) == NVMLCode.success
        else { return [] }
        return (0..<min(count, UInt32(ManagementLimits.devicesMax))).compactMap { index in
            var device: UnsafeMutableRawPointer?
            return withUnsafeMutablePointer(to: &device) { find(index, $0) } == NVMLCode.success ? device : nil
        }
    }

    package func answer(_ question: ManagementQuestion) -> ManagementAnswer {
        if question.call == .nvmlDeviceGetCount_v2 {
            return ManagementAnswer(
                NVMLCode.success, bytes: withUnsafeBytes(of: UInt32(devices.count).littleEndian) { Array($0) })
        }
        if let answer = answerOfHiddenLink(question) ?? answerAboutEvents(question) { return answer }
        var arguments = HostArguments(question.bytes, devices: devices)
        defer { arguments.free() }
        do throws(MalformedQuestion) {
            let status = try call(question.call, &arguments)
            return arguments.answer(status)
        } catch {
            return ManagementAnswer(NVMLCode.invalidArgument)
        }
    }
}

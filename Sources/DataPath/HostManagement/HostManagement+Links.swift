// SPDX-License-Identifier: Apache-2.0
import CNVML
import Management
import Wire

// NVLinks between GPUs. A link to a GPU of the server that is not shown is one that leads nowhere; its other end's
// address is nobody's business. Addresses of shown GPUs are the server's, under which the client knows them; those of
// switches are left as they are.

extension HostManagement {
    /// The answer to a question about a link that leads to a GPU which is not shown; nil for all other questions.
    func answerOfHiddenLink(_ question: ManagementQuestion) -> ManagementAnswer? {
        switch question.call {
        case .nvmlDeviceGetNvLinkState, .nvmlDeviceGetNvLinkRemotePciInfo_v2, .nvmlDeviceGetNvLinkRemoteDeviceType,
            .nvmlDeviceGetNvLinkVersion, .nvmlDeviceGetNvLinkCapability, .nvmlDeviceGetNvLinkErrorCounter,
            .nvmlDeviceGetNvLinkUtilizationControl, .nvmlDeviceGetNvLinkUtilizationCounter:
            break
        default: return nil
        }
        // What is no question about a link is refused elsewhere.
        var reader = ValueReader(question.bytes)
        guard let index = try? reader.value(UInt32.self), let link = try? reader.value(UInt32.self),
            devices.indices.contains(Int(index)), leadsToHiddenDevice(devices[Int(index)], link)
        else { return nil }
        guard question.call == .nvmlDeviceGetNvLinkState else { return ManagementAnswer(NVMLCode.notSupported) }
        // NVML_FEATURE_DISABLED: the link is not in use.
        return ManagementAnswer(NVMLCode.success, bytes: [0, 0, 0, 0])
    }

    /// Whether the other end of a link is a GPU of the server that is not shown.
    private func leadsToHiddenDevice(_ device: UnsafeMutableRawPointer, _ link: UInt32) -> Bool {
        typealias RemotePCI = @convention(c) (UnsafeMutableRawPointer?, UInt32, UnsafeMutableRawPointer?) -> UInt32
        typealias Find = @convention(c) (UnsafeRawPointer?, UnsafeMutableRawPointer?) -> UInt32
        var info = nvmlPciInfo_t()
        var remote: UnsafeMutableRawPointer?
        guard let remotePCI: RemotePCI = library.function("nvmlDeviceGetNvLinkRemotePciInfo_v2"),
            let find: Find = library.function("nvmlDeviceGetHandleByPciBusId_v2"),
            withUnsafeMutablePointer(to: &info, { remotePCI(device, link, $0) }) == NVMLCode.success
        else { return false }
        // The library limits its texts itself.
        let status = withUnsafeBytes(of: info.busId) { bus in
            withUnsafeMutablePointer(to: &remote) { find(bus.baseAddress, $0) }
        }
        // What the library knows under no address is a switch or another machine's bridge.
        guard status == NVMLCode.success, let remote else { return status == NVMLCode.noPermission }
        return !devices.contains(remote)
    }
}

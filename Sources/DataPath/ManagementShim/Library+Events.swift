// SPDX-License-Identifier: Apache-2.0
import Glibc
import Management

// Sets of events, which tools make at their start. No event of the server is passed on, so none ever comes.

extension Library {
    func nvmlEventSetCreate(_ set: UnsafeMutableRawPointer?) -> UInt32 {
        withDeviceCount { _ in
            guard set != nil else { return NVMLCode.invalidArgument }
            guard let made = makeEventSet() else { return NVMLCode.insufficientResources }
            return store(made, at: set)
        }
    }

    func nvmlEventSetFree(_ set: UnsafeMutableRawPointer?) -> UInt32 {
        withDeviceCount { _ in
            removeEventSet(UInt(bitPattern: set)) ? NVMLCode.success : NVMLCode.invalidArgument
        }
    }

    /// Waits as long as the caller wants to.
    func nvmlEventSetWait_v2(
        _ set: UnsafeMutableRawPointer?, _ data: UnsafeMutableRawPointer?, _ milliseconds: UInt32
    ) -> UInt32 {
        let status = withDeviceCount { _ in
            data != nil && hasEventSet(UInt(bitPattern: set)) ? NVMLCode.success : NVMLCode.invalidArgument
        }
        guard status == NVMLCode.success else { return status }
        var rest = timespec(tv_sec: Int(milliseconds / 1000), tv_nsec: Int(milliseconds % 1000) * 1_000_000)
        var left = timespec()
        while nanosleep(&rest, &left) < 0 && errno == EINTR { rest = left }
        return NVMLCode.timeout
    }

    func nvmlDeviceGetSupportedEventTypes(
        _ device: UnsafeMutableRawPointer?, _ types: UnsafeMutableRawPointer?
    ) -> UInt32 {
        withDevice(device) { _ in store(UInt64(0), at: types) }
    }
}

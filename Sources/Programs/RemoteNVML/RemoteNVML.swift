// SPDX-License-Identifier: Apache-2.0
import CNVML
import Management
import ManagementShim
import RemoteManagement

/// Makes the source of the client's `libnvidia-ml.so.1`: the server that the environment names.
///
/// Without one, or when it is not there, the machine is one without a driver; tools have words for that.
@c @implementation
public func bitfusion_make_management(_ error: UnsafeMutablePointer<UInt32>!) -> UnsafeMutableRawPointer! {
    guard let source = RemoteManagement.connect() else {
        error.pointee = NVMLCode.driverNotLoaded
        return nil
    }
    return Unmanaged.passRetained(ManagementSourceBox(source)).toOpaque()
}

// SPDX-License-Identifier: Apache-2.0
import CNVML
import Management
import ManagementShim
import UsageBoard

/// Makes the source of the software GPU's `libnvidia-ml.so.1`.
///
/// A description nobody can read is a machine without a driver; the software libcuda says why in words.
@c @implementation
public func bitfusion_make_management(_ error: UnsafeMutablePointer<UInt32>!) -> UnsafeMutableRawPointer! {
    guard let inventory = SoftInventory.fromEnvironment() else {
        error.pointee = NVMLCode.driverNotLoaded
        return nil
    }
    let source = SoftManagement(inventory, board: UsageBoard.fromEnvironment())
    return Unmanaged.passRetained(ManagementSourceBox(source)).toOpaque()
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Glibc
import RemoteDriver
import Shim
import Transport

/// Makes the driver of the client's `libcuda.so.1`: the worker on a GPU server that the environment names.
@c @implementation
public func bitfusion_make_driver(_ error: UnsafeMutablePointer<Int32>!) -> UnsafeMutableRawPointer! {
    do throws(ConnectionFailure) {
        let source = DriverSource(try RemoteDriver.connect(), hasRemoteMemory: true)
        return Unmanaged.passRetained(source).toOpaque()
    } catch let failure {
        reportFailure(failure.message)
        let isServerChosen = getenv("BITFUSION_SERVER") != nil
        let code = isServerChosen ? CUDA_ERROR_SYSTEM_NOT_READY : CUDA_ERROR_NO_DEVICE
        error.pointee = Int32(bitPattern: code.rawValue)
        return nil
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Shim
import SoftGPU
import UsageBoard

/// Makes the driver of the `libcuda.so.1` that runs CUDA on this machine's processor.
@c @implementation
public func bitfusion_make_driver(_ error: UnsafeMutablePointer<Int32>!) -> UnsafeMutableRawPointer! {
    var configuration = SoftGPUConfiguration()
    if let text = getenv(SoftGPUConfiguration.variable) {
        do throws(ConfigurationError) {
            configuration = try SoftGPUConfiguration(String(cString: text))
        } catch let mistake {
            return fail(mistake.description, CUDA_ERROR_NO_DEVICE, error)
        }
    }
    do throws(CUDAError) {
        // Device memory is in this process: its addresses are never those of other memory.
        let usage = UsageBoard.fromEnvironment().flatMap { ProcessUsage($0) }
        let source = DriverSource(try SoftGPU(configuration, usage: usage), hasRemoteMemory: false)
        return Unmanaged.passRetained(source).toOpaque()
    } catch let refusal {
        return fail("the software GPU's memory cannot be reserved", refusal.code, error)
    }
}

private func fail(_ message: String, _ code: CUresult, _ error: UnsafeMutablePointer<Int32>) -> UnsafeMutableRawPointer?
{
    reportFailure(message)
    error.pointee = Int32(bitPattern: code.rawValue)
    return nil
}

// SPDX-License-Identifier: Apache-2.0
package import Driver
import Wire

// Questions about launches with clusters.

extension RemoteDriver {
    package func cuOccupancyMaxActiveClusters(
        _ context: ContextHandle, hfunc: FunctionHandle, _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        try clusters(.cuOccupancyMaxActiveClusters, context, hfunc, shape)
    }

    package func cuOccupancyMaxPotentialClusterSize(
        _ context: ContextHandle, hfunc: FunctionHandle, _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        try clusters(.cuOccupancyMaxPotentialClusterSize, context, hfunc, shape)
    }

    private func clusters(
        _ call: Call, _ context: ContextHandle, _ function: FunctionHandle, _ shape: LaunchGeometry
    ) throws(CUDAError) -> Int32 {
        var reply = try self.call(call, context, byteCount: 40) { frame in
            frame.write(function.bits)
            frame.write(shape)
        }
        return reply.read(Int32.self)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Driver

/// Profilers attach to the GPU server, if at all: starting and stopping the collection has no effect here.
extension Shim {
    func cuProfilerStart() throws(CUDAError) { _ = try activeContext() }

    func cuProfilerStop() throws(CUDAError) { _ = try activeContext() }
}

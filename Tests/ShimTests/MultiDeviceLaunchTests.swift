// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization
import Testing

@testable import Shim

/// One cooperative grid on each of several devices.
@Suite struct MultiDeviceLaunchTests {
    /// Two devices of the same kind, both of which have cooperative launches.
    private static let description: DriverDescription = {
        var description = FakeDriver.description
        description.devices[0].attributes = description.devices[1].attributes
        return description
    }()

    /// A launch on a device, in a stream of its own.
    private static func entry(_ harness: Harness, _ device: Int32) throws -> CUDA_LAUNCH_PARAMS {
        _ = try harness.enterPrimary(device)
        var entry = CUDA_LAUNCH_PARAMS()
        entry.function = try harness.kernel()
        (entry.gridDimX, entry.gridDimY, entry.gridDimZ) = (4, 1, 1)
        (entry.blockDimX, entry.blockDimY, entry.blockDimZ) = (64, 1, 1)
        try harness.shim.cuStreamCreate(&entry.hStream, 0)
        return entry
    }

    private static func launch(_ harness: Harness, _ entries: [CUDA_LAUNCH_PARAMS], _ flags: UInt32 = 0) -> CUresult {
        var value: UInt64 = 1
        return withUnsafeMutablePointer(to: &value) { value in
            var parameters = [UnsafeMutableRawPointer?](repeating: UnsafeMutableRawPointer(value), count: 2)
            return parameters.withUnsafeMutableBufferPointer { parameters in
                var entries = entries
                for index in entries.indices { entries[index].kernelParams = parameters.baseAddress }
                let count = UInt32(entries.count)
                return harness.code { () throws(CUDAError) in
                    try harness.shim.cuLaunchCooperativeKernelMultiDevice(&entries, count, flags)
                }
            }
        }
    }

    @Test func theStreamsWaitForEachOtherBeforeAndAfter() throws {
        try Harness(description: Self.description).run { harness in
            let entries = [try Self.entry(harness, 0), try Self.entry(harness, 1)]
            harness.driver.state.withLock { $0.notesWaits = true }
            for flags in UInt32(0)..<4 {
                _ = harness.driver.takeCalls()
                #expect(Self.launch(harness, entries, flags) == CUDA_SUCCESS)
                let calls = harness.driver.takeCalls().filter { !$0.hasPrefix("occupancy") && $0 != "event" }
                let kinds = calls.map { call in
                    call.hasPrefix("record") ? "record" : call.contains("waits") ? "wait" : "launch"
                }
                let join = ["record", "record", "wait", "wait"]
                #expect(
                    kinds == (flags & 1 == 0 ? join : []) + ["launch", "launch"] + (flags & 2 == 0 ? join : []),
                    "flags \(flags): \(calls)")
                #expect(calls.filter { $0.hasPrefix("launch") }.allSatisfy { $0.contains(" with ") })
            }
            // The devices say that they can, as they say of cooperative launches.
            var ability: Int32 = 0
            try harness.shim.cuDeviceGetAttribute(&ability, CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH, 1)
            #expect(ability == 1)
        }
    }

    @Test func refusesWhatCUDADoesAtOnce() throws {
        try Harness(description: Self.description).run { harness in
            let (one, two) = (try Self.entry(harness, 0), try Self.entry(harness, 1))
            _ = Self.launch(harness, [one, two])
            _ = harness.driver.takeCalls()
            func refused(_ change: (inout CUDA_LAUNCH_PARAMS) throws -> Void) rethrows -> CUresult {
                var changed = two
                try change(&changed)
                return Self.launch(harness, [one, changed])
            }
            #expect(refused { $0.gridDimX = 5 } == CUDA_ERROR_INVALID_VALUE)
            #expect(refused { $0.blockDimY = 2 } == CUDA_ERROR_INVALID_VALUE)
            #expect(refused { $0.sharedMemBytes = 16 } == CUDA_ERROR_INVALID_VALUE)
            for bits in [0, 1, 2] as [UInt] {
                #expect(refused { $0.hStream = OpaquePointer(bitPattern: bits) } == CUDA_ERROR_INVALID_VALUE)
            }
            #expect(refused { $0.function = nil } == CUDA_ERROR_INVALID_HANDLE)
            // A kernel of another context than the stream's, and two grids on one device.
            #expect(refused { $0.function = one.function } == CUDA_ERROR_INVALID_HANDLE)
            #expect(Self.launch(harness, [one, one]) == CUDA_ERROR_INVALID_VALUE)
            #expect(Self.launch(harness, [one, two], 4) == CUDA_ERROR_INVALID_VALUE)
            #expect(Self.launch(harness, []) == CUDA_ERROR_INVALID_VALUE)
            #expect(Self.launch(harness, [one, two, one]) == CUDA_ERROR_INVALID_VALUE)
            var large = one
            large.gridDimX = 1 << 20
            #expect(Self.launch(harness, [large]) == CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE)
            #expect(harness.driver.takeCalls().filter { $0.hasPrefix("launch") } == [])
        }
    }

    @Test func devicesWithoutCooperativeLaunchesHaveNone() throws {
        try Harness().run { harness in
            #expect(Self.launch(harness, [try Self.entry(harness, 0)]) == CUDA_ERROR_NOT_SUPPORTED)
            var ability: Int32 = -1
            try harness.shim.cuDeviceGetAttribute(&ability, CU_DEVICE_ATTRIBUTE_COOPERATIVE_MULTI_DEVICE_LAUNCH, 0)
            #expect(ability == 0)
        }
    }
}

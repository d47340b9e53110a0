// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

/// The variables that belong to a CUDA driver, rule by rule as the CUDA programming guide has them.
@Suite struct EnvironmentTests {
    /// Four devices: a slow one, two fast ones on later places of the bus, and a part of a fast one.
    private static let devices: [DeviceDescription] = [(8, 40), (4, 80), (6, 80), (5, 20)].enumerated().map {
        number, place in
        var attributes = [Int32](repeating: 0, count: DeviceDescription.attributeCount)
        attributes[Int(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID.rawValue)] = Int32(place.0)
        attributes[Int(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT.rawValue)] = Int32(place.1)
        attributes[Int(CU_DEVICE_ATTRIBUTE_CLOCK_RATE.rawValue)] = 1_000_000
        var uuid = [UInt8](repeating: 0xab, count: 16)
        uuid[3] = UInt8(number)
        return DeviceDescription(
            name: number == 3 ? "NVIDIA A100-SXM4-40GB MIG 1g.5gb" : "GPU \(number)", uuid: uuid, totalBytes: 1,
            attributes: attributes, canAccessPeer: [], leastPriority: 0, greatestPriority: 0)
    }

    private func ordinals(_ variable: String?, _ order: String? = nil) -> [Int32] {
        visibleDevices(Self.devices, variable, order: DeviceOrder(order)).map(\.driverOrdinal)
    }

    @Test func numbersTheFastestFirstUnlessToldOtherwise() {
        #expect(ordinals(nil) == [1, 2, 0, 3])
        #expect(ordinals(nil, "FASTEST_FIRST") == [1, 2, 0, 3])
        #expect(ordinals(nil, "nonsense") == [1, 2, 0, 3])
    }

    @Test func numbersThemByTheBusOnDemand() {
        #expect(ordinals(nil, "PCI_BUS_ID") == [1, 3, 2, 0])
        #expect(visibleDevices(Self.devices, nil, order: .bus).map(\.ordinal) == [0, 1, 2, 3])
    }

    @Test(
        arguments: [
            // Not set: all; set and empty: none.
            (nil, [1, 2, 0, 3]), ("", []),
            // Numbers of the order, in the sequence's order.
            ("2,0", [0, 1]), ("1", [2]), (" 1 , 2 ", [2, 0]),
            // Whatever stands behind an invalid entry is not visible.
            ("0,2,-1,1", [1, 0]), ("0,9,1", [1]), ("-1", []), ("0,,1", [1]), ("0,x,1", [1]), ("NoDevFiles", []),
            // UUIDs, or enough of their beginning to name one.
            ("GPU-abababa0-0", []), ("GPU-ababab00-abab-abab-abab-abababababab", [0]),
            ("GPU-ababab01,GPU-ABABAB00", [1, 0]),
            ("GPU-abab,0", []), ("gpu-ababab01", []),
            // Parts of GPUs have a prefix of their own.
            ("MIG-ababab03", [3]), ("GPU-ababab03", []), ("MIG-ababab01", []), ("MIG-GPU-ababab03/1/0", []),
            // Both kinds together; a device named twice makes the list void.
            ("0,GPU-ababab02", [1, 2]), ("0,GPU-ababab01", []), ("1,1", []),
        ] as [(String?, [Int32])])
    func choosesVisibleDevices(variable: String?, expected: [Int32]) {
        #expect(ordinals(variable) == expected, "\(variable ?? "unset")")
    }

    @Test func numbersInTheListAreThoseOfTheOrder() {
        #expect(ordinals("0,1", "PCI_BUS_ID") == [1, 3])
    }

    @Test func blockingLaunchesWaitForWhatTheyEnqueue() throws {
        try Harness(isLaunchBlocking: true).run { harness in
            let shim = harness.shim
            let kernel = try harness.kernel()
            let first = try harness.allocate(256)
            let second = try harness.allocate(256)
            var pinned: UnsafeMutableRawPointer?
            try shim.cuMemHostAlloc(&pinned, 256, 0)
            let host = try #require(pinned)
            var stream: OpaquePointer?
            try shim.cuStreamCreate(&stream, 0)
            _ = harness.driver.takeCalls()
            func expectWait(_ what: String, _ call: () throws(CUDAError) -> Void) throws {
                try call()
                #expect(harness.driver.takeCalls().last?.hasPrefix("synchronize ") == true, "\(what)")
            }
            var pointer = first
            var number: UInt32 = 7
            try withUnsafeMutablePointer(to: &pointer) { pointer in
                try withUnsafeMutablePointer(to: &number) { number in
                    var parameters: [UnsafeMutableRawPointer?] = [UnsafeMutableRawPointer(pointer), .init(number)]
                    try expectWait("launch") { () throws(CUDAError) in
                        try shim.cuLaunchKernel(
                            kernel, 1, 1, 1, 1, 1, 1, 0, stream, &parameters, nil, defaultStream: .legacy)
                    }
                }
            }
            try expectWait("copy to the device") { () throws(CUDAError) in
                try shim.cuMemcpyHtoDAsync_v2(first, host, 64, stream, defaultStream: .legacy)
            }
            try expectWait("copy to pinned memory") { () throws(CUDAError) in
                try shim.cuMemcpyDtoHAsync_v2(host, first, 64, stream, defaultStream: .legacy)
            }
            try expectWait("copy on the device") { () throws(CUDAError) in
                try shim.cuMemcpyDtoDAsync_v2(second, first, 64, stream, defaultStream: .legacy)
            }
            try expectWait("copy of anything") { () throws(CUDAError) in
                try shim.cuMemcpyAsync(second, first, 64, stream, defaultStream: .legacy)
            }
            try expectWait("set") { () throws(CUDAError) in
                try shim.cuMemsetD8Async(first, 1, 64, stream, defaultStream: .legacy)
            }
            try expectWait("set of words") { () throws(CUDAError) in
                try shim.cuMemsetD32Async(first, 1, 16, stream, defaultStream: .legacy)
            }
            try expectWait("set of rows") { () throws(CUDAError) in
                try shim.cuMemsetD2D8Async(first, 16, 1, 8, 4, stream, defaultStream: .legacy)
            }
            var box = CUDA_MEMCPY2D()
            box.srcMemoryType = CU_MEMORYTYPE_DEVICE
            box.srcDevice = first
            box.srcPitch = 32
            box.dstMemoryType = CU_MEMORYTYPE_DEVICE
            box.dstDevice = second
            box.dstPitch = 16
            box.WidthInBytes = 8
            box.Height = 4
            try expectWait("copy of rows") { () throws(CUDAError) in
                try shim.cuMemcpy2DAsync_v2(&box, stream, defaultStream: .legacy)
            }
            var graph: OpaquePointer?
            var executable: OpaquePointer?
            try shim.cuGraphCreate(&graph, 0)
            try shim.cuGraphInstantiateWithFlags(&executable, graph, 0)
            try expectWait("graph") { () throws(CUDAError) in
                try shim.cuGraphLaunch(executable, stream, defaultStream: .legacy)
            }
        }
    }
}

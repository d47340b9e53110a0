// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Testing

@testable import Shim

/// Multicast objects: passed on where a device has them, which of the two the second one does.
@Suite struct MulticastTests {
    private static let size = 4 << 20

    private static func properties(handleTypes: UInt64 = 1) -> CUmulticastObjectProp {
        CUmulticastObjectProp(numDevices: 2, size: size, handleTypes: handleTypes, flags: 0)
    }

    private static func memory(_ shim: Shim) throws(CUDAError) -> CUmemGenericAllocationHandle {
        var properties = CUmemAllocationProp()
        properties.type = CU_MEM_ALLOCATION_TYPE_PINNED
        properties.location = CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE, id: 1)
        var made: CUmemGenericAllocationHandle = 0
        try shim.cuMemCreate(&made, size, &properties, 0)
        return made
    }

    @Test func passesObjectsOn() throws {
        try Harness().run { harness in
            let (shim, size) = (harness.shim, Self.size)
            var properties = Self.properties()
            var object: CUmemGenericAllocationHandle = 0
            var granularity = 0
            try shim.cuMulticastGetGranularity(&granularity, &properties, CU_MULTICAST_GRANULARITY_MINIMUM)
            #expect(granularity == 2 << 20)
            try shim.cuMulticastCreate(&object, &properties)
            try shim.cuMulticastAddDevice(object, 1)
            let memory = try Self.memory(shim)
            try shim.cuMulticastBindMem(object, 0, memory, 0, size, 0)
            try shim.cuMulticastUnbind(object, 1, 0, size)
            try shim.cuMulticastBindMem_v2(object, 1, size / 2, memory, 0, size / 2, 0)
            var address: CUdeviceptr = 0
            try shim.cuMemAddressReserve(&address, size, 0, 0, 0)
            try shim.cuMemMap(address, size, 0, memory, 0)
            try shim.cuMulticastBindAddr(object, 0, address, size, 0)
            try shim.cuMulticastBindAddr_v2(object, 1, 0, address, size, 0)
            let driver = try #require(shim.physicalMemory[object]?.handle.bits)
            let bound = try #require(shim.physicalMemory[memory]?.handle.bits)
            #expect(
                harness.driver.takeCalls() == [
                    "multicast of 2, \(size) bytes, 1", "add 1 to \(driver)", "create memory",
                    "bind \(bound)+0 to \(driver)+0, \(size)", "unbind 1 from \(driver)+0, \(size)",
                    "bind \(bound)+0 of 1 to \(driver)+\(size / 2), \(size / 2)", "reserve", "map",
                    "bind address to \(driver)+0, \(size)", "bind address of 1 to \(driver)+0, \(size)",
                ])
            try shim.cuMemRelease(object)
            #expect(harness.driver.takeCalls() == ["release memory"])
            #expect(harness.code { () throws(CUDAError) in try shim.cuMemRelease(object) } == CUDA_ERROR_INVALID_VALUE)
        }
    }

    @Test func anObjectIsSharedAsMemoryIs() throws {
        try Harness().run { harness in
            let shim = harness.shim
            var properties = Self.properties()
            var (object, imported): (CUmemGenericAllocationHandle, CUmemGenericAllocationHandle) = (0, 0)
            try shim.cuMulticastCreate(&object, &properties)
            var descriptor: Int32 = -1
            let kind = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
            try shim.cuMemExportToShareableHandle(&descriptor, object, kind, 0)
            defer { close(descriptor) }
            let pointer = UnsafeMutableRawPointer(bitPattern: Int(descriptor))
            try shim.cuMemImportFromShareableHandle(&imported, pointer, kind)
            #expect(shim.physicalMemory[imported]?.isMulticast == true)
            try shim.cuMulticastAddDevice(imported, 1)
        }
    }

    @Test func refusesWhatIsNoObject() throws {
        try Harness().run { harness in
            let (shim, size) = (harness.shim, Self.size)
            var properties = Self.properties()
            var object: CUmemGenericAllocationHandle = 0
            try shim.cuMulticastCreate(&object, &properties)
            let memory = try Self.memory(shim)
            _ = harness.driver.takeCalls()
            func expect(
                _ code: CUresult, sourceLocation: SourceLocation = #_sourceLocation,
                _ body: () throws(CUDAError) -> Void
            ) { #expect(harness.code(body) == code, sourceLocation: sourceLocation) }
            for stray in [memory, 0, 0x1234, object ^ 0x10] {
                expect(CUDA_ERROR_INVALID_VALUE) { () throws(CUDAError) in try shim.cuMulticastAddDevice(stray, 1) }
                expect(CUDA_ERROR_INVALID_VALUE) { () throws(CUDAError) in
                    try shim.cuMulticastBindMem(stray, 0, memory, 0, size, 0)
                }
            }
            expect(CUDA_ERROR_INVALID_VALUE) { () throws(CUDAError) in
                try shim.cuMulticastBindMem(object, 0, object, 0, size, 0)
            }
            expect(CUDA_ERROR_INVALID_VALUE) { () throws(CUDAError) in
                try shim.cuMulticastBindMem(object, 4096, memory, 0, size, 0)
            }
            expect(CUDA_ERROR_INVALID_VALUE) { () throws(CUDAError) in
                try shim.cuMulticastBindMem(object, 0, memory, 0, size, 1)
            }
            expect(CUDA_ERROR_INVALID_VALUE) { () throws(CUDAError) in
                try shim.cuMulticastBindAddr(object, 0, 0x1234, size, 0)
            }
            expect(CUDA_ERROR_NOT_SUPPORTED) { () throws(CUDAError) in try shim.cuMulticastAddDevice(object, 0) }
            expect(CUDA_ERROR_INVALID_DEVICE) { () throws(CUDAError) in try shim.cuMulticastAddDevice(object, 2) }
            var fabric = Self.properties(handleTypes: 8)
            expect(CUDA_ERROR_NOT_SUPPORTED) { () throws(CUDAError) in try shim.cuMulticastCreate(&object, &fabric) }
            #expect(harness.driver.takeCalls().isEmpty)
        }
    }

    @Test func hasNoneWhereNoDeviceHas() throws {
        try Harness(visibleDevices: "0").run { harness in
            var properties = Self.properties()
            var (object, granularity): (CUmemGenericAllocationHandle, Int) = (0, 0)
            #expect(
                harness.code { () throws(CUDAError) in try harness.shim.cuMulticastCreate(&object, &properties) }
                    == CUDA_ERROR_NOT_SUPPORTED)
            #expect(
                harness.code { () throws(CUDAError) in
                    try harness.shim.cuMulticastGetGranularity(
                        &granularity, &properties, CU_MULTICAST_GRANULARITY_MINIMUM)
                } == CUDA_ERROR_NOT_SUPPORTED)
            var attribute: Int32 = -1
            try harness.shim.cuDeviceGetAttribute(&attribute, CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED, 0)
            #expect(attribute == 0)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

/// Operations that come in batches: all are checked before any is done, and attributes hold from an index on.
@Suite struct BatchTests {
    private static func attributes(
        _ order: CUmemcpySrcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM, flags: UInt32 = 0
    ) -> CUmemcpyAttributes {
        var attributes = CUmemcpyAttributes()
        attributes.srcAccessOrder = order
        attributes.flags = flags
        return attributes
    }

    /// A batch of copies between the two addresses, and the index of the one that failed.
    private static func copy(
        _ harness: Harness, _ target: CUdeviceptr, _ source: CUdeviceptr, sizes: [Int],
        _ attributes: [CUmemcpyAttributes], _ firsts: [Int], _ stream: OpaquePointer?
    ) -> (CUresult, Int) {
        var failed = 99
        var (targets, sources) = (sizes.map { _ in target }, sizes.map { _ in source })
        var (sizes, attributes, firsts) = (sizes, attributes, firsts)
        let code = harness.code { () throws(CUDAError) in
            try harness.shim.cuMemcpyBatchAsync(
                &targets, &sources, &sizes, sizes.count, &attributes, &firsts, firsts.count, &failed, stream,
                defaultStream: .legacy)
        }
        return (code, failed)
    }

    @Test func copiesNothingWhereOneCopyIsWrong() throws {
        try Harness().run { harness in
            let (target, source) = (try harness.allocate(100), try harness.allocate(100))
            let stream = try harness.stream()
            _ = harness.driver.takeCalls()
            let wrong = Self.copy(harness, target, source, sizes: [10, 100, 101], [Self.attributes()], [0], stream)
            #expect(wrong == (CUDA_ERROR_INVALID_VALUE, 2))
            #expect(harness.driver.takeCalls().isEmpty)
            let right = Self.copy(harness, target, source, sizes: [10, 0, 100], [Self.attributes()], [0], stream)
            #expect(right == (CUDA_SUCCESS, -1))
            #expect(harness.driver.takeCalls() == ["DtoD 10", "DtoD 100"])
        }
    }

    @Test(arguments: [[1], [0, 0], [0, 2, 1], [0, 3], [0, 1, 2, 3], []])
    func refusesIndicesOfAttributesThatDoNotAscend(firsts: [Int]) throws {
        try Harness().run { harness in
            let (target, source) = (try harness.allocate(100), try harness.allocate(100))
            let stream = try harness.stream()
            let attributes = firsts.map { _ in Self.attributes() }
            let wrong = Self.copy(harness, target, source, sizes: [1, 2, 3], attributes, firsts, stream)
            #expect(wrong == (CUDA_ERROR_INVALID_VALUE, -1))
        }
    }

    @Test func takesTheAttributesThatHoldForEachCopy() throws {
        try Harness().run { harness in
            let (target, source) = (try harness.allocate(100), try harness.allocate(100))
            let stream = try harness.stream()
            let wrongOnes = [
                Self.attributes(CU_MEMCPY_SRC_ACCESS_ORDER_INVALID), Self.attributes(flags: 2),
                Self.attributes(CUmemcpySrcAccessOrder(4)),
            ]
            for wrong in wrongOnes {
                let outcome = Self.copy(
                    harness, target, source, sizes: [1, 2, 3], [Self.attributes(), wrong], [0, 2], stream)
                #expect(outcome == (CUDA_ERROR_INVALID_VALUE, 2))
            }
            let flag = CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE.rawValue
            let outcome = Self.copy(
                harness, target, source, sizes: [1, 2], [Self.attributes(), Self.attributes(flags: flag)], [0, 1],
                stream)
            #expect(outcome.0 == CUDA_SUCCESS)
        }
    }

    @Test func refusesTheLegacyDefaultStream() throws {
        try Harness().run { harness in
            let (target, source) = (try harness.allocate(100), try harness.allocate(100))
            for stream in [nil, OpaquePointer(bitPattern: 1)] {
                let outcome = Self.copy(harness, target, source, sizes: [1], [Self.attributes()], [0], stream)
                #expect(outcome == (CUDA_ERROR_INVALID_VALUE, -1))
            }
            let perThread = Self.copy(
                harness, target, source, sizes: [1], [Self.attributes()], [0], OpaquePointer(bitPattern: 2))
            #expect(perThread.0 == CUDA_SUCCESS)
        }
    }

    /// A source on the device that may be used again when the call returns: the call waits.
    @Test func waitsWhereTheSourceMustHaveBeenRead() throws {
        try Harness().run { harness in
            let (target, source) = (try harness.allocate(100), try harness.allocate(100))
            let stream = try harness.stream()
            _ = harness.driver.takeCalls()
            let now = Self.attributes(CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL)
            _ = Self.copy(harness, target, source, sizes: [10], [now], [0], stream)
            let calls = harness.driver.takeCalls()
            #expect(calls.count == 2 && calls[0] == "DtoD 10" && calls[1].hasPrefix("synchronize"))
            let bytes = [UInt8](repeating: 1, count: 10)
            bytes.withUnsafeBytes { bytes in
                let host = CUdeviceptr(UInt(bitPattern: bytes.baseAddress))
                #expect(Self.copy(harness, target, host, sizes: [10], [now], [0], stream).0 == CUDA_SUCCESS)
            }
            #expect(harness.driver.takeCalls() == ["HtoD 10"], "host memory has been read without waiting")
            // Nothing of a launch can happen during this call.
            try harness.begin(stream)
            let captured = Self.copy(harness, target, source, sizes: [10], [now], [0], stream)
            #expect(captured == (CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 0))
        }
    }

    @Test func measuresBoxesInElementsOfTheArray() throws {
        try Harness().run { harness in
            let shim = harness.shim
            var description = CUDA_ARRAY3D_DESCRIPTOR()
            (description.Width, description.Height) = (16, 4)
            (description.Format, description.NumChannels) = (CU_AD_FORMAT_FLOAT, 1)
            var array: OpaquePointer?
            try shim.cuArray3DCreate_v2(&array, &description)
            let stream = try harness.stream()
            _ = harness.driver.takeCalls()
            var operation = CUDA_MEMCPY3D_BATCH_OP()
            operation.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM
            operation.src.type = CU_MEMCPY_OPERAND_TYPE_POINTER
            operation.dst.type = CU_MEMCPY_OPERAND_TYPE_ARRAY
            operation.dst.op.array.array = array
            operation.dst.op.array.offset = CUoffset3D(x: 14, y: 3, z: 0)
            operation.extent = CUextent3D(width: 2, height: 1, depth: 1)
            let bytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
            try bytes.withUnsafeBytes { bytes in
                operation.src.op.ptr.ptr = CUdeviceptr(UInt(bitPattern: bytes.baseAddress))
                try shim.cuMemcpy3DBatchAsync_v2(1, &operation, 0, stream, defaultStream: .legacy)
                #expect(harness.driver.takeCalls() == ["box HtoD [1, 2, 3, 4, 5, 6, 7, 8] at 0 pitch 0"])
                var failed = 0
                for wrong in [CUextent3D(width: 3, height: 1, depth: 1), CUextent3D(width: 2, height: 0, depth: 1)] {
                    operation.extent = wrong
                    #expect(
                        harness.code { () throws(CUDAError) in
                            try shim.cuMemcpy3DBatchAsync(1, &operation, &failed, 0, stream, defaultStream: .legacy)
                        } == CUDA_ERROR_INVALID_VALUE)
                }
                operation.extent = CUextent3D(width: 2, height: 1, depth: 1)
                operation.src.op.ptr.rowLength = 1
                #expect(
                    harness.code { () throws(CUDAError) in
                        try shim.cuMemcpy3DWithAttributesAsync(&operation, 0, stream, defaultStream: .legacy)
                    } == CUDA_ERROR_INVALID_VALUE, "a row must hold the width")
                #expect(harness.driver.takeCalls().isEmpty)
            }
        }
    }

    @Test func findsPoolsByTheirLocation() throws {
        try Harness().run { harness in
            let shim = harness.shim
            var location = CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE, id: 1)
            var (pool, known): (OpaquePointer?, OpaquePointer?)
            try shim.cuMemGetDefaultMemPool(&pool, &location, CU_MEM_ALLOCATION_TYPE_PINNED)
            try shim.cuDeviceGetDefaultMemPool(&known, 1)
            #expect(pool == known)
            var properties = CUmemPoolProps()
            properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED
            properties.location = location
            try shim.cuMemPoolCreate(&pool, &properties)
            try shim.cuMemSetMemPool(&location, CU_MEM_ALLOCATION_TYPE_PINNED, pool)
            try shim.cuMemGetMemPool(&known, &location, CU_MEM_ALLOCATION_TYPE_PINNED)
            #expect(pool == known)
            location.id = 0
            let refusals: [(CUmemLocation, CUmemAllocationType, CUresult)] = [
                (location, CU_MEM_ALLOCATION_TYPE_PINNED, CUDA_ERROR_INVALID_VALUE),
                (location, CU_MEM_ALLOCATION_TYPE_MANAGED, CUDA_ERROR_INVALID_VALUE),
                (location, CU_MEM_ALLOCATION_TYPE_INVALID, CUDA_ERROR_INVALID_VALUE),
                (
                    CUmemLocation(type: CU_MEM_LOCATION_TYPE_HOST, id: 0), CU_MEM_ALLOCATION_TYPE_PINNED,
                    CUDA_ERROR_INVALID_VALUE
                ),
                (
                    CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE_LOCALITY_DOMAIN, id: 0),
                    CU_MEM_ALLOCATION_TYPE_PINNED, CUDA_ERROR_NOT_SUPPORTED
                ),
                (
                    CUmemLocation(type: CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT, id: 0), CU_MEM_ALLOCATION_TYPE_PINNED,
                    CUDA_ERROR_INVALID_VALUE
                ),
                (
                    CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE, id: 2), CU_MEM_ALLOCATION_TYPE_PINNED,
                    CUDA_ERROR_INVALID_DEVICE
                ),
            ]
            for (place, type, code) in refusals {
                var place = place
                #expect(
                    harness.code { () throws(CUDAError) in try shim.cuMemSetMemPool(&place, type, pool) } == code)
            }
        }
    }

    /// Managed memory moves with prefetches, and is nowhere once its contents are given up.
    @Test func tellsWhereManagedMemoryIs() throws {
        try Harness(remoteMemory: true).run { harness in
            let shim = harness.shim
            let page = SharedRange.pageBytes
            var address: CUdeviceptr = 0
            try shim.cuMemAllocManaged(&address, 4 * page, CU_MEM_ATTACH_GLOBAL.rawValue)
            let stream = try harness.stream()
            func places() throws -> [CUmemLocationType] {
                var places = [CUmemLocation](repeating: CUmemLocation(), count: 2)
                try shim.cuMemGetLocationInfo(address, 4 * page, 2 * page, page, &places)
                return places.map(\.type)
            }
            #expect(try places() == [CU_MEM_LOCATION_TYPE_NONE, CU_MEM_LOCATION_TYPE_NONE])
            UnsafeMutablePointer<UInt8>(bitPattern: UInt(address) + UInt(2 * page))?.pointee = 1
            UnsafeMutablePointer<UInt8>(bitPattern: UInt(address) + UInt(3 * page))?.pointee = 1
            #expect(try places() == [CU_MEM_LOCATION_TYPE_NONE, CU_MEM_LOCATION_TYPE_HOST])
            var (starts, sizes, firsts) = ([address], [2 * page], [0])
            var locations = [CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE, id: 0)]
            try shim.cuMemPrefetchBatchAsync(
                &starts, &sizes, 1, &locations, &firsts, 1, 0, stream, defaultStream: .legacy)
            #expect(try places() == [CU_MEM_LOCATION_TYPE_DEVICE, CU_MEM_LOCATION_TYPE_HOST])
            _ = harness.driver.takeCalls()
            sizes = [4 * page]
            try shim.cuMemDiscardBatchAsync(&starts, &sizes, 1, 0, stream, defaultStream: .legacy)
            #expect(try places() == [CU_MEM_LOCATION_TYPE_NONE, CU_MEM_LOCATION_TYPE_NONE])
            try shim.cuMemDiscardAndPrefetchBatchAsync(
                &starts, &sizes, 1, &locations, &firsts, 1, 0, stream, defaultStream: .legacy)
            #expect(try places() == [CU_MEM_LOCATION_TYPE_DEVICE, CU_MEM_LOCATION_TYPE_DEVICE])
            #expect(harness.driver.takeCalls().isEmpty, "what nobody needs does not travel")
            sizes = [4 * page + 1]
            #expect(
                harness.code { () throws(CUDAError) in
                    try shim.cuMemDiscardBatchAsync(&starts, &sizes, 1, 0, stream, defaultStream: .legacy)
                } == CUDA_ERROR_INVALID_VALUE)
            try shim.cuMemFree_v2(address)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

/// What is remembered of tensor maps.
@Suite struct TensorMapTests {
    /// Calls with 128 bytes at a multiple of 128.
    private static func withMap<Result>(
        _ body: (UnsafeMutablePointer<CUtensorMap>) throws -> Result
    ) throws -> (Result, TensorMap) {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 128, alignment: 128)
        defer { bytes.deallocate() }
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        let start = try #require(bytes.baseAddress).bindMemory(to: CUtensorMap.self, capacity: 1)
        let result = try body(start)
        return (result, TensorMap(bytes: UnsafeRawBufferPointer(bytes)))
    }

    private static func encode(
        _ harness: Harness, at address: UInt, sizes: [UInt64] = [64, 64], beyond: UInt64 = 0
    ) throws -> TensorMap {
        // What lies behind the numbers of the rank is the application's own.
        let (dimensions, strides) = (sizes + [beyond], [128, beyond])
        let (box, steps) = ([8, 8, UInt32(beyond)] as [UInt32], [1, 1, UInt32(beyond)] as [UInt32])
        return try withMap { map in
            try harness.shim.cuTensorMapEncodeTiled(
                map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, UnsafeMutableRawPointer(bitPattern: address), dimensions,
                strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE,
                CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
        }.1
    }

    @Test func asksForEveryMapOnce() throws {
        try Harness().run { harness in
            let first = try Self.encode(harness, at: 0x1000)
            #expect(harness.driver.takeCalls() == ["tensor map at 1000"])
            #expect(try Self.encode(harness, at: 0x1000) == first)
            #expect(try Self.encode(harness, at: 0x1000, beyond: 9) == first)
            #expect(harness.driver.takeCalls() == [])
            #expect(try Self.encode(harness, at: 0x1000, sizes: [64, 65]) != first)
            #expect(try Self.encode(harness, at: 0x2000) != first)
            #expect(harness.driver.takeCalls() == ["tensor map at 1000", "tensor map at 2000"])
            // Another device may be of another generation.
            _ = try harness.enterPrimary(1)
            _ = harness.driver.takeCalls()
            _ = try Self.encode(harness, at: 0x1000)
            #expect(harness.driver.takeCalls() == ["tensor map at 1000"])
        }
    }

    @Test func asksForEveryAddressOfAMapOnce() throws {
        try Harness().run { harness in
            for _ in 0..<3 {
                for address: UInt in [0x1000, 0x2000] {
                    let (_, map) = try Self.withMap { map in
                        try harness.shim.cuTensorMapReplaceAddress(map, UnsafeMutableRawPointer(bitPattern: address))
                    }
                    #expect(map.words[0] == address)
                }
            }
            #expect(harness.driver.takeCalls() == ["tensor map to 1000", "tensor map to 2000"])
            let (outAllocClass, map) = try Self.withMap { map in
                var outAllocClass = CU_TENSOR_MAP_ALLOC_CLASS_AUTO
                try harness.shim.cuTensorMapSetAllocationClass(map, CU_TENSOR_MAP_ALLOC_CLASS_LARGE, &outAllocClass)
                return outAllocClass
            }
            #expect(outAllocClass == CU_TENSOR_MAP_ALLOC_CLASS_LARGE && map.words[1] == 2)
        }
    }

    @Test func forgetsTheMapsThatAreNotUsed() throws {
        var cache = TensorMapCache()
        func key(_ number: Int) -> TensorMapCache.Key {
            TensorMapCache.Key(
                device: 0, request: .replaceAddress(TensorMap(words: SIMD16()), CUdeviceptr(number)))
        }
        let answer = TensorMapCache.Answer(map: TensorMap(words: SIMD16(repeating: 7)))
        for number in 0..<10 * TensorMapCache.generationMax {
            cache.insert(answer, for: key(number))
            // One that is used all the time stays.
            #expect(cache.answer(to: key(0)) != nil)
            #expect(cache.count <= 2 * TensorMapCache.generationMax)
        }
        #expect(cache.answer(to: key(1)) == nil)
    }

    @Test func aRefusalIsNotRemembered() throws {
        try Harness().run { harness in
            for _ in 0..<2 {
                #expect(throws: CUDAError.invalidValue) { try Self.encode(harness, at: 0x1001) }
            }
            #expect(harness.driver.takeCalls() == ["tensor map at 1001", "tensor map at 1001"])
        }
    }
}

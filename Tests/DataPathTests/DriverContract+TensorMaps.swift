// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Tensor maps, which software GPUs say that they do not have: the refusal comes back as the driver gives it.
@Suite struct DriverContractTensorMaps {
    private static let parts: [TensorMapDescription.Part] = [
        .box([64, 8, 1, 0, 0, 0, 0, 0]),
        .pixels(lower: [0, 0, 0, 0], upper: [0, 0, 0, 0], channelsPerPixel: 64, pixelsPerColumn: 8),
        .row(lower: 0, upper: 0, channelsPerPixel: 64, pixelsPerColumn: 8, mode: 0),
    ]

    @Test(arguments: DriverContract.subjects)
    func refusesTensorMapsAsADeviceWithout(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let devices = try driver.describe().devices
        #expect(devices.allSatisfy { $0[CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED] == 0 })
        let memory = try fixture.allocate(1 << 16)
        for part in Self.parts {
            var description = TensorMapDescription(part: part)
            description.rank = 3
            description.address = memory
            description.sizes = [64, 32, 16, 0, 0, 0, 0, 0]
            description.strides = [64, 2048, 0, 0]
            description.elementStrides = [1, 1, 1, 0, 0, 0, 0, 0]
            fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED) {
                _ = try driver.cuTensorMapEncodeTiled(context, description)
            }
            fixture.expectRefusal(CUDA_ERROR_INVALID_CONTEXT) {
                _ = try driver.cuTensorMapEncodeTiled(ContextHandle(bits: 77), description)
            }
        }
        let map = TensorMap(words: SIMD16(repeating: 1))
        fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED) {
            _ = try driver.cuTensorMapReplaceAddress(context, tensorMap: map, globalAddress: memory)
        }
        fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED) {
            _ = try driver.cuTensorMapSetAllocationClass(context, tensorMap: map, allocClass: 1)
        }
        // The session goes on.
        try fixture.free(memory)
    }
}

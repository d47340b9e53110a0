// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Sets. Device memory is set without waiting; pinned host memory is set here, in the order of the stream.
extension Shim {
    func cuMemsetD8_v2(
        _ dstDevice: CUdeviceptr, _ uc: UInt8, _ N: Int, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuMemsetD8Async(dstDevice, uc, N, nil, defaultStream: defaultStream)
        try waitIfManaged(dstDevice, try target(nil, defaultStream))
    }

    func cuMemsetD8Async(
        _ dstDevice: CUdeviceptr, _ uc: UInt8, _ N: Int, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try set(dstDevice, pitch: nil, uc, width: N, height: 1, try workTarget(hStream, defaultStream)) {
            stream throws(CUDAError) in
            try driver.cuMemsetD8Async(
                stream.context, dstDevice: dstDevice, uc: uc, n: N, hStream: stream.stream)
        }
    }

    func cuMemsetD2D8_v2(
        _ dstDevice: CUdeviceptr, _ dstPitch: Int, _ uc: UInt8, _ Width: Int, _ Height: Int,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuMemsetD2D8Async(dstDevice, dstPitch, uc, Width, Height, nil, defaultStream: defaultStream)
        try waitIfManaged(dstDevice, try target(nil, defaultStream))
    }

    func cuMemsetD2D8Async(
        _ dstDevice: CUdeviceptr, _ dstPitch: Int, _ uc: UInt8, _ Width: Int, _ Height: Int,
        _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try set(dstDevice, pitch: dstPitch, uc, width: Width, height: Height, try workTarget(hStream, defaultStream)) {
            stream throws(CUDAError) in
            try driver.cuMemsetD2D8Async(
                stream.context, dstDevice: dstDevice, dstPitch: dstPitch, uc: uc, width: Width, height: Height,
                hStream: stream.stream)
        }
    }

    func cuMemsetD16_v2(
        _ dstDevice: CUdeviceptr, _ us: UInt16, _ N: Int, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuMemsetD16Async(dstDevice, us, N, nil, defaultStream: defaultStream)
        try waitIfManaged(dstDevice, try target(nil, defaultStream))
    }

    func cuMemsetD16Async(
        _ dstDevice: CUdeviceptr, _ us: UInt16, _ N: Int, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try set(dstDevice, pitch: nil, us, width: N, height: 1, try workTarget(hStream, defaultStream)) {
            stream throws(CUDAError) in
            try driver.cuMemsetD16Async(
                stream.context, dstDevice: dstDevice, us: us, n: N, hStream: stream.stream)
        }
    }

    func cuMemsetD2D16_v2(
        _ dstDevice: CUdeviceptr, _ dstPitch: Int, _ us: UInt16, _ Width: Int, _ Height: Int,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuMemsetD2D16Async(dstDevice, dstPitch, us, Width, Height, nil, defaultStream: defaultStream)
        try waitIfManaged(dstDevice, try target(nil, defaultStream))
    }

    func cuMemsetD2D16Async(
        _ dstDevice: CUdeviceptr, _ dstPitch: Int, _ us: UInt16, _ Width: Int, _ Height: Int,
        _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try set(dstDevice, pitch: dstPitch, us, width: Width, height: Height, try workTarget(hStream, defaultStream)) {
            stream throws(CUDAError) in
            try driver.cuMemsetD2D16Async(
                stream.context, dstDevice: dstDevice, dstPitch: dstPitch, us: us, width: Width, height: Height,
                hStream: stream.stream)
        }
    }

    func cuMemsetD32_v2(
        _ dstDevice: CUdeviceptr, _ ui: UInt32, _ N: Int, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuMemsetD32Async(dstDevice, ui, N, nil, defaultStream: defaultStream)
        try waitIfManaged(dstDevice, try target(nil, defaultStream))
    }

    func cuMemsetD32Async(
        _ dstDevice: CUdeviceptr, _ ui: UInt32, _ N: Int, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try set(dstDevice, pitch: nil, ui, width: N, height: 1, try workTarget(hStream, defaultStream)) {
            stream throws(CUDAError) in
            try driver.cuMemsetD32Async(
                stream.context, dstDevice: dstDevice, ui: ui, n: N, hStream: stream.stream)
        }
    }

    func cuMemsetD2D32_v2(
        _ dstDevice: CUdeviceptr, _ dstPitch: Int, _ ui: UInt32, _ Width: Int, _ Height: Int,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuMemsetD2D32Async(dstDevice, dstPitch, ui, Width, Height, nil, defaultStream: defaultStream)
        try waitIfManaged(dstDevice, try target(nil, defaultStream))
    }

    func cuMemsetD2D32Async(
        _ dstDevice: CUdeviceptr, _ dstPitch: Int, _ ui: UInt32, _ Width: Int, _ Height: Int,
        _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try set(dstDevice, pitch: dstPitch, ui, width: Width, height: Height, try workTarget(hStream, defaultStream)) {
            stream throws(CUDAError) in
            try driver.cuMemsetD2D32Async(
                stream.context, dstDevice: dstDevice, dstPitch: dstPitch, ui: ui, width: Width, height: Height,
                hStream: stream.stream)
        }
    }

    /// Checks a set, and performs it if the target is host memory.
    private func set<Element: FixedWidthInteger>(
        _ address: CUdeviceptr, pitch: Int?, _ value: Element, width: Int, height: Int, _ stream: StreamTarget,
        onDevice: (StreamTarget) throws(CUDAError) -> Void
    ) throws(CUDAError) {
        let elementBytes = MemoryLayout<Element>.size
        if width == 0 || height == 0 { return }
        let (rowBytes, isTooWide) = width.multipliedReportingOverflow(by: elementBytes)
        let pitch = pitch ?? rowBytes
        guard width > 0, height > 0, !isTooWide, address % CUdeviceptr(elementBytes) == 0,
            height == 1 || pitch >= rowBytes && pitch % elementBytes == 0
        else { throw .invalidValue }
        let (lastRow, isTooHigh) = pitch.multipliedReportingOverflow(by: height - 1)
        let (byteCount, isTooLong) = lastRow.addingReportingOverflow(rowBytes)
        guard !isTooHigh, !isTooLong else { throw .invalidValue }
        let side = try side(address, byteCount, .known)
        if let captured = stream.capturing {
            let work = SetWork(
                description: DeviceSet(
                    address: side == .shared ? deviceAddress(address) : address, pitch: pitch,
                    value: UInt32(truncatingIfNeeded: value),
                    elementBytes: UInt32(elementBytes), width: width, height: height),
                context: try context(of: stream), isOnDevice: !side.isHost)
            return try capture(.set(work), on: captured)
        }
        switch side {
        case .device: try onDevice(stream)
        case .shared where deviceAddress(address) == address:
            try whileOnDevice([(address, .shared, byteCount)], stream, isChanged: true) { () throws(CUDAError) in
                try onDevice(stream)
            }
        // Writing host memory takes it back from the device, where that has it.
        case .shared, .pinned, .pageable:
            try driver.cuStreamSynchronize(stream.context, hStream: stream.stream)
            for row in 0..<height {
                guard let start = UnsafeMutableRawPointer(bitPattern: UInt(address) + UInt(row * pitch)) else {
                    continue
                }
                start.initializeMemory(as: Element.self, repeating: value, count: width)
            }
        }
        try waitIfBlocking(stream)
    }
}

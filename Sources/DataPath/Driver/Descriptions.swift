// SPDX-License-Identifier: Apache-2.0
package import CCUDA

/// What a client needs to know of a driver to answer questions about it without asking.
package struct DriverDescription: Sendable, Equatable {
    /// As `cuDriverGetVersion`: 1000 x major + 10 x minor.
    package var version: Int32
    package var devices: [DeviceDescription]

    package init(version: Int32, devices: [DeviceDescription]) {
        self.version = version
        self.devices = devices
    }
}

package struct DeviceDescription: Sendable, Equatable {
    /// One more than the highest attribute number that is kept.
    package static let attributeCount = 200

    package var name: String
    /// 16 bytes.
    package var uuid: [UInt8]
    package var totalBytes: Int
    /// The value of each CUdevice_attribute by its number; ``attributeCount`` of them.
    ///
    /// Unknown ones are 0.
    package var attributes: [Int32]
    /// For each device of the same driver whether this one can reach its memory.
    package var canAccessPeer: [Bool]
    /// `cuCtxGetStreamPriorityRange`: the least (largest number) and the greatest priority.
    package var leastPriority: Int32
    package var greatestPriority: Int32

    package init(
        name: String, uuid: [UInt8], totalBytes: Int, attributes: [Int32], canAccessPeer: [Bool],
        leastPriority: Int32, greatestPriority: Int32
    ) {
        self.name = name
        self.uuid = uuid
        self.totalBytes = totalBytes
        self.attributes = attributes
        self.canAccessPeer = canAccessPeer
        self.leastPriority = leastPriority
        self.greatestPriority = greatestPriority
    }

    /// `GPU-` and the UUID in its usual groups.
    package var uuidText: String {
        let digits = uuid.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        return "GPU-" + digits.indices.map { ([4, 6, 8, 10].contains($0) ? "-" : "") + digits[$0] }.joined()
    }

    /// How the UUID of a software GPU begins; the last byte is its number.
    package static let softwareUUIDPrefix = Array("bitfusion-soft-".utf8)

    /// Whether it is a software GPU, which executes PTX and no machine code.
    package var isSoftware: Bool { uuid.starts(with: Self.softwareUUIDPrefix) }

    package subscript(attribute: CUdevice_attribute) -> Int32 {
        let number = Int(attribute.rawValue)
        return attributes.indices.contains(number) ? attributes[number] : 0
    }
}

/// Everything that is known about a kernel when it is found, so that launches and questions need no round trip.
package struct FunctionDescription: Sendable, Equatable {
    /// One more than the highest CUfunction_attribute number that is kept.
    package static let attributeCount = 20

    package var function: FunctionHandle
    package var parameters: [KernelParameter]
    /// The value of each CUfunction_attribute by its number; ``attributeCount`` of them.
    ///
    /// Unknown ones are 0.
    package var attributes: [Int32]

    package init(function: FunctionHandle, parameters: [KernelParameter], attributes: [Int32]) {
        self.function = function
        self.parameters = parameters
        self.attributes = attributes
    }

    /// Bytes of the packed parameter block.
    package var parameterBytes: Int { parameters.map { $0.offset + $0.size }.max() ?? 0 }
}

/// Where a kernel's parameter lies in its parameter block, in bytes.
package struct KernelParameter: Sendable, Equatable, BitwiseCopyable {
    package var offset: Int
    package var size: Int

    package init(offset: Int, size: Int) {
        self.offset = offset
        self.size = size
    }
}

/// The geometry and the attributes of a launch.
package struct LaunchGeometry: Sendable, Equatable, BitwiseCopyable {
    package var gridX: UInt32, gridY: UInt32, gridZ: UInt32
    package var blockX: UInt32, blockY: UInt32, blockZ: UInt32
    package var dynamicSharedBytes: UInt32
    package var isCooperative: Bool
    /// Blocks of a cluster in each direction; 0 when the launch says nothing of clusters.
    package var clusterX: UInt8 = 0, clusterY: UInt8 = 0, clusterZ: UInt8 = 0

    package init(
        grid: (UInt32, UInt32, UInt32), block: (UInt32, UInt32, UInt32), dynamicSharedBytes: UInt32 = 0,
        isCooperative: Bool = false
    ) {
        (gridX, gridY, gridZ) = grid
        (blockX, blockY, blockZ) = block
        self.dynamicSharedBytes = dynamicSharedBytes
        self.isCooperative = isCooperative
    }

    package var hasCluster: Bool { clusterX != 0 }

    /// What it says beside sizes, as one number: whether it is cooperative in bit 0, the cluster in the upper three
    /// bytes.
    package var attributeBits: UInt32 {
        get {
            (isCooperative ? 1 : 0) | UInt32(clusterX) << 8 | UInt32(clusterY) << 16 | UInt32(clusterZ) << 24
        }
        set {
            isCooperative = newValue & 1 != 0
            clusterX = UInt8(truncatingIfNeeded: newValue >> 8)
            clusterY = UInt8(truncatingIfNeeded: newValue >> 16)
            clusterZ = UInt8(truncatingIfNeeded: newValue >> 24)
        }
    }
}

/// An option of the JIT compiler or the linker that is a plain number (a CUjit_option).
///
/// Log buffers are a ``JITLog``.
package struct JITOption: Sendable, Equatable {
    package var option: UInt32
    package var value: UInt64

    package init(option: UInt32, value: UInt64) {
        self.option = option
        self.value = value
    }
}

/// What the JIT compiler or the linker says.
package struct JITLog: Sendable, Equatable {
    package var info = ""
    package var error = ""

    package init() {}
}

/// One input of the linker.
package struct LinkInput: Sendable {
    /// A CUjitInputType.
    package var type: UInt32
    package var name: String
    package var bytes: [UInt8]
    package var options: [JITOption]

    package init(type: UInt32, name: String, bytes: [UInt8], options: [JITOption]) {
        self.type = type
        self.name = name
        self.bytes = bytes
        self.options = options
    }
}

/// A corner in device memory, or in an array, from which a box is copied or to which it is copied.
package struct DeviceBox: Sendable, Equatable, BitwiseCopyable {
    /// Address of the first byte of the box; 0 in an array.
    package var address: CUdeviceptr
    /// Bytes from one row to the next.
    package var pitch: Int
    /// Rows from one slice to the next.
    package var rows: Int
    /// The array that the box is in, or none.
    package var array: ArrayHandle
    /// Where the box begins in the array: bytes in a row, row in a slice, slice or layer.
    package var x: Int, y: Int, z: Int

    package init(address: CUdeviceptr, pitch: Int, rows: Int) {
        self.address = address
        self.pitch = pitch
        self.rows = rows
        array = .none
        (x, y, z) = (0, 0, 0)
    }

    package init(array: ArrayHandle, x: Int, y: Int, z: Int) {
        address = 0
        pitch = 0
        rows = 0
        self.array = array
        (self.x, self.y, self.z) = (x, y, z)
    }

    package var isInArray: Bool { array != .none }

    /// The part of the box that begins so many rows and slices further on.
    package func advanced(rows count: Int, slices: Int) -> DeviceBox {
        var box = self
        if isInArray {
            box.y += count
            box.z += slices
        } else {
            box.address += CUdeviceptr((slices * rows + count) * pitch)
        }
        return box
    }
}

/// The size of a box that is copied.
package struct Extent: Sendable, Equatable, BitwiseCopyable {
    package var widthBytes: Int
    package var height: Int
    package var depth: Int

    package init(widthBytes: Int, height: Int, depth: Int) {
        self.widthBytes = widthBytes
        self.height = height
        self.depth = depth
    }

    /// Bytes of the box when packed, or nil when that does not fit.
    package var byteCount: Int? {
        let (rows, overflow) = height.multipliedReportingOverflow(by: depth)
        let (bytes, overflow2) = rows.multipliedReportingOverflow(by: widthBytes)
        return overflow || overflow2 || bytes < 0 ? nil : bytes
    }
}

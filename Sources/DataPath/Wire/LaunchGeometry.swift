// SPDX-License-Identifier: Apache-2.0
package import Driver

// A launch's geometry as it travels: eight 32-bit numbers.

extension LaunchGeometry {
    @inline(__always)
    fileprivate func forEachWord(_ body: (UInt32) -> Void) {
        body(gridX)
        body(gridY)
        body(gridZ)
        body(blockX)
        body(blockY)
        body(blockZ)
        body(dynamicSharedBytes)
        body(attributeBits)
    }
}

extension PayloadWriter {
    package mutating func write(_ shape: LaunchGeometry) { shape.forEachWord { write($0) } }
}

extension FrameWriter {
    package mutating func write(_ shape: LaunchGeometry) { shape.forEachWord { write($0) } }
}

extension WireReader {
    @_lifetime(self: copy self)
    package mutating func readLaunchGeometry() throws(WireError) -> LaunchGeometry {
        let grid = (try read(UInt32.self), try read(UInt32.self), try read(UInt32.self))
        let block = (try read(UInt32.self), try read(UInt32.self), try read(UInt32.self))
        var shape = LaunchGeometry(grid: grid, block: block, dynamicSharedBytes: try read(UInt32.self))
        shape.attributeBits = try read(UInt32.self)
        return shape
    }
}

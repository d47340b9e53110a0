// SPDX-License-Identifier: Apache-2.0
package import Driver

/// A launch's geometry as it travels: eight 32-bit numbers.
extension PayloadWriter {
    package mutating func write(_ shape: LaunchGeometry) {
        write(shape.gridX)
        write(shape.gridY)
        write(shape.gridZ)
        write(shape.blockX)
        write(shape.blockY)
        write(shape.blockZ)
        write(shape.dynamicSharedBytes)
        write(shape.attributeBits)
    }
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

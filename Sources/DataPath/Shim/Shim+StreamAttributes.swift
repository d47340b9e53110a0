// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Attributes of streams: what was set is known here, and the driver is told.
extension Shim {
    /// What may be set; the priority of a stream is fixed when it is made.
    private static var settableAttributes: [CUlaunchAttributeID] {
        [
            CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW, CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY,
            CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN,
        ]
    }

    func cuStreamSetAttribute(
        _ hStream: OpaquePointer?, _ attr: CUstreamAttrID, _ value: UnsafePointer<CUstreamAttrValue>?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try workTarget(hStream, defaultStream)
        guard let value, Self.settableAttributes.contains(attr) else { throw .invalidValue }
        try set(attr, value.pointee, hStream, target)
    }

    func cuStreamGetAttribute(
        _ hStream: OpaquePointer?, _ attr: CUstreamAttrID, _ value_out: UnsafeMutablePointer<CUstreamAttrValue>?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try workTarget(hStream, defaultStream)
        if attr == CU_LAUNCH_ATTRIBUTE_PRIORITY {
            var value = CUstreamAttrValue()
            value.priority = streams[bits(hStream)]?.priority ?? 0
            return try write(value, to: value_out)
        }
        guard Self.settableAttributes.contains(attr) else { throw .invalidValue }
        try write(try attributes(hStream, target).withLock { $0[attr.rawValue] } ?? Self.initial(attr), to: value_out)
    }

    func cuStreamCopyAttributes(
        _ dst: OpaquePointer?, _ src: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try workTarget(dst, defaultStream)
        let source = try workTarget(src, defaultStream)
        guard target.contextBits == source.contextBits else { throw .invalidValue }
        let given = try attributes(src, source).withLock { $0 }
        for attribute in Self.settableAttributes {
            try set(attribute, given[attribute.rawValue] ?? Self.initial(attribute), dst, target)
        }
    }

    private func set(
        _ attribute: CUstreamAttrID, _ value: CUstreamAttrValue, _ hStream: OpaquePointer?, _ target: StreamTarget
    ) throws(CUDAError) {
        try withUnsafeBytes(of: value) { bytes throws(CUDAError) in
            try driver.cuStreamSetAttribute(
                target.context, hStream: target.stream, attr: attribute.rawValue, value: RawSpan(_unsafeBytes: bytes))
        }
        try attributes(hStream, target).withLock { $0[attribute.rawValue] = value }
    }

    /// Where the attributes of a stream are kept; the default streams of a context have theirs in common.
    private func attributes(
        _ hStream: OpaquePointer?, _ target: StreamTarget
    ) throws(CUDAError) -> StreamAttributes {
        if let stream = streams[bits(hStream)] { return stream.attributes }
        return try context(of: target).defaultStreamAttributes
    }

    /// What an attribute is before it is set.
    private static func initial(_ attribute: CUstreamAttrID) -> CUstreamAttrValue {
        var value = CUstreamAttrValue()
        // CU_SYNC_POLICY_AUTO; and the map of synchronisation domains, which keeps both apart.
        if attribute == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY { value.pad.0 = 1 }
        if attribute == CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP { value.pad.1 = 1 }
        return value
    }
}

/// Values of a stream's attributes by their numbers.
final class StreamAttributes: Sendable {
    private let values = Mutex<[UInt32: CUstreamAttrValue]>([:])

    func withLock<Result>(_ body: (inout sending [UInt32: CUstreamAttrValue]) -> sending Result) -> sending Result {
        values.withLock(body)
    }
}

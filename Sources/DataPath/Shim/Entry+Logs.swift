// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// The error log, which is there before `cuInit`.
extension Entry {
    func cuLogsRegisterCallback(
        _ callbackFunc: CUlogsCallback?, _ userData: UnsafeMutableRawPointer?,
        _ callback_out: UnsafeMutablePointer<OpaquePointer?>?
    ) throws(CUDAError) {
        guard let callbackFunc else { throw .invalidValue }
        let number = try ErrorLog.shared.register(ErrorLog.Callback(function: callbackFunc, data: userData))
        callback_out?.pointee = OpaquePointer(bitPattern: number)
    }

    func cuLogsUnregisterCallback(_ callback: OpaquePointer?) throws(CUDAError) {
        try ErrorLog.shared.unregister(UInt(bitPattern: callback))
    }

    func cuLogsCurrent(_ iterator_out: UnsafeMutablePointer<CUlogIterator>?, _ flags: UInt32) throws(CUDAError) {
        guard flags == 0 else { throw .invalidValue }
        try write(ErrorLog.shared.end, to: iterator_out)
    }

    /// Stands in a dump for messages that are no longer kept.
    private static var lost: [UInt8] { Array("older messages are no longer kept\n".utf8) }

    func cuLogsDumpToFile(
        _ iterator: UnsafeMutablePointer<CUlogIterator>?, _ pathToFile: UnsafePointer<CChar>?, _ flags: UInt32
    ) throws(CUDAError) {
        guard flags == 0, let pathToFile else { throw .invalidValue }
        let (lines, isTruncated, end) = ErrorLog.shared.lines(from: iterator?.pointee)
        let file = open(pathToFile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw .invalidValue }
        ErrorLog.write((isTruncated ? Self.lost : []) + lines.joined(), to: file)
        close(file)
        iterator?.pointee = end
    }

    /// Writes as many of the latest messages as there is room for, and in front of them a line if that is not all.
    func cuLogsDumpToMemory(
        _ iterator: UnsafeMutablePointer<CUlogIterator>?, _ buffer: UnsafeMutablePointer<CChar>?,
        _ size: UnsafeMutablePointer<Int>?, _ flags: UInt32
    ) throws(CUDAError) {
        guard flags == 0, let buffer, let size, size.pointee > 0 else { throw .invalidValue }
        let (lines, isTruncated, end) = ErrorLog.shared.lines(from: iterator?.pointee)
        // The NUL at the end.
        let room = size.pointee - 1
        buffer[0] = 0
        size.pointee = 0
        if lines.isEmpty {
            iterator?.pointee = end
            return
        }
        let head = isTruncated ? Self.lost : []
        var chosen = Array((head + lines.joined()))
        if chosen.count > room {
            let head = Array("the buffer is too small for all messages\n".utf8)
            var byteCount = head.count
            let fitting = lines.reversed().prefix { line in
                byteCount += line.count
                return byteCount <= room
            }
            guard !fitting.isEmpty else { throw .invalidValue }
            chosen = Array(head + fitting.reversed().joined())
        }
        for index in chosen.indices { buffer[index] = CChar(bitPattern: chosen[index]) }
        buffer[chosen.count] = 0
        size.pointee = chosen.count
        iterator?.pointee = end
    }
}

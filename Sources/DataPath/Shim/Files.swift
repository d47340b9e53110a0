// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// The contents of a file that an application names.
///
/// CUDA_ERROR_FILE_NOT_FOUND if it cannot be read.
func readFile(_ path: String, limit: Int) throws(CUDAError) -> [UInt8] {
    guard let file = fopen(path, "re") else { throw CUDAError(CUDA_ERROR_FILE_NOT_FOUND) }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    let chunkBytes = 1 << 20
    while true {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: chunkBytes))
        let count = bytes.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { fread($0 + start, 1, chunkBytes, file) } ?? 0
        }
        bytes.removeLast(chunkBytes - count)
        guard bytes.count <= limit else { throw .invalidImage }
        if count < chunkBytes { break }
    }
    guard ferror(file) == 0 else { throw CUDAError(CUDA_ERROR_FILE_NOT_FOUND) }
    return bytes
}

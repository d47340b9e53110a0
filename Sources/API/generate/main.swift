// SPDX-License-Identifier: Apache-2.0
// Prints every file that is derived from the description: `swift run generate` in the package's folder.
// `swift run generate --check` writes nothing and fails if a file is not as it would be printed.

import CUDADescription
import Glibc
import NVMLDescription

var stale: [String] = []
let isCheck = CommandLine.arguments.dropFirst().contains("--check")
for file in generatedFiles() + generatedManagementFiles() {
    let old = readFile(file.path)
    if old == file.text { continue }
    if isCheck {
        stale.append(file.path)
    } else if !writeFile(file.path, file.text) {
        unsafe perror(file.path)
        exit(1)
    } else {
        print("wrote \(file.path)")
    }
}
for path in stale { print("not fresh: \(path) (run `swift run generate`)") }
exit(stale.isEmpty ? 0 : 1)

func readFile(_ path: String) -> String? {
    guard let file = unsafe fopen(path, "r") else { return nil }
    defer { unsafe fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = unsafe fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
    return String(decoding: bytes, as: UTF8.self)
}

func writeFile(_ path: String, _ text: String) -> Bool {
    guard let file = unsafe fopen(path, "w") else { return false }
    let bytes = Array(text.utf8)
    let written = unsafe fwrite(bytes, 1, bytes.count, file)
    return unsafe fclose(file) == 0 && written == bytes.count
}

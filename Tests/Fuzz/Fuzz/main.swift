// SPDX-License-Identifier: Apache-2.0
// Feeds one of the decoders with what libFuzzer makes up: `fuzz TARGET [libFuzzer's arguments]`. See scripts/fuzz.

import CFuzzer
import Glibc

/// What can be fuzzed, by the name of its corpus.
enum Target: String, CaseIterable {
    case frames, session, hello, messages, servers, ptx, trace

    var run: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 {
        switch self {
        case .frames: { fuzzFrames(bytes($0, $1)) }
        case .session: { fuzzSession(bytes($0, $1)) }
        case .hello: { fuzzHello(bytes($0, $1)) }
        case .messages: { fuzzMessages(bytes($0, $1)) }
        case .servers: { fuzzServers(bytes($0, $1)) }
        case .ptx: { fuzzPTX(bytes($0, $1)) }
        case .trace: { fuzzTrace(bytes($0, $1)) }
        }
    }
}

func bytes(_ start: UnsafePointer<UInt8>?, _ count: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: start, count: count))
}

guard let target = CommandLine.arguments.dropFirst().first.flatMap({ Target(rawValue: $0) }) else {
    let names = Target.allCases.map(\.rawValue).joined(separator: " ")
    let usage = "usage: fuzz TARGET [ARGUMENTS OF LIBFUZZER]; the targets are \(names)\n"
    _ = write(STDERR_FILENO, usage, usage.utf8.count)
    exit(64)
}
signal(SIGPIPE, SIG_IGN)
let words = [CommandLine.arguments[0]] + CommandLine.arguments.dropFirst(2)
var count = Int32(words.count)
var pointers = words.map { strdup($0) } + [nil]
pointers.withUnsafeMutableBufferPointer { buffer in
    var start = buffer.baseAddress
    exit(LLVMFuzzerRunDriver(&count, &start, target.run))
}

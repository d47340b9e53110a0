// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import TraceAnalysis

struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace", abstract: "Show what a traced application's CUDA calls cost",
        usage: "bitfusion trace [--json] [--chrome <file>] <trace> ...",
        discussion: """
            Reads what the client's libraries have recorded where BITFUSION_TRACE names a file: every call of the \
            CUDA driver and of the management library. Prints how often each was made and what it cost the caller, \
            and which calls waited for a reply from the server. A trace that is not complete is used as far as it goes.

            EXIT STATUS
              0   the traces were read
              64  wrong usage
              65  a file is not a trace
              66  a file cannot be opened
              73  the file of --chrome cannot be written

            ENVIRONMENT
              BITFUSION_TRACE  set for an application: the file where its calls are recorded
            """)

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: "Write all calls to a file that Perfetto and Chrome's trace viewer open.", completion: .file())
    var chrome: String?

    @Argument(help: "The files that BITFUSION_TRACE named.", completion: .file())
    var trace: [String]

    func run() throws {
        try reporting {
            var statistics = TraceStatistics()
            for path in trace {
                try read(path) {
                    statistics.add($0)
                } header: {
                    statistics.add($0)
                }
            }
            if let chrome { try export(to: chrome) }
            let summary = statistics.summary()
            if json { try printJSON(summary) } else { print(summary.text, terminator: "") }
        }
    }

    /// Gives every call of a file to `body`, and says on standard error when the file is not whole.
    private func read(
        _ path: String, isQuiet: Bool = false, body: (TracedCall) throws -> Void,
        header: (TracedProcess) throws -> Void
    ) throws {
        let file = try InputFile(path)
        do {
            var reader = try TraceReader { file.read($0) }
            try header(TracedProcess(reader.header))
            let ending = try reader.forEachCall(body)
            if let notice = ending.notice, !isQuiet { printError("bitfusion: \(path) \(notice)") }
        } catch let error as TraceError {
            throw Failure(.data, "\(path) \(error.message)")
        }
        if let reason = file.problem { throw Failure(.noInput, "\(path) cannot be read: \(reason)") }
    }

    private func export(to target: String) throws {
        // The calls are read once more: a trace may be larger than memory.
        var origin = UInt64.max
        for path in trace {
            try read(path, isQuiet: true) {
                origin = min(origin, $0.startNanoseconds)
            } header: { _ in
            }
        }
        var events = ChromeTrace(origin: origin)
        let output = try OutputFile(target)
        try output.write(events.head)
        for path in trace {
            try read(path, isQuiet: true) {
                try output.write(events.event($0))
            } header: {
                try output.write(events.event(process: $0.pid, program: $0.program))
            }
        }
        try output.write(events.tail)
        try output.close()
    }
}

/// A file that is read from its beginning to its end.
private final class InputFile {
    private let file: UnsafeMutablePointer<FILE>
    /// Why reading failed, if it did.
    private(set) var problem: String?

    init(_ path: String) throws {
        guard let file = fopen(path, "re") else {
            throw Failure(.noInput, "\(path) cannot be opened: \(String(cString: strerror(errno)))")
        }
        self.file = file
    }

    deinit { fclose(file) }

    func read(_ count: Int) -> [UInt8] {
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = fread(buffer.baseAddress, 1, count, file)
        }
        if bytes.count < count && ferror(file) != 0 && problem == nil {
            problem = String(cString: strerror(errno))
        }
        return bytes
    }
}

/// A file that is written and must be whole when it is closed.
private final class OutputFile {
    private let path: String
    private var file: UnsafeMutablePointer<FILE>?

    init(_ path: String) throws {
        self.path = path
        file = fopen(path, "we")
        if file == nil { throw failure() }
    }

    deinit { if let file { fclose(file) } }

    func write(_ text: String) throws {
        var text = text
        let isWritten = text.withUTF8 { fwrite($0.baseAddress, 1, $0.count, file) == $0.count }
        if !isWritten { throw failure() }
    }

    func close() throws {
        guard let file else { return }
        self.file = nil
        if fclose(file) != 0 { throw failure() }
    }

    private func failure() -> Failure {
        Failure(.cannotCreate, "\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
}

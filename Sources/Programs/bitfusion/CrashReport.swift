// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import ManagerClient
import Pool

/// A folder with what is known of this node, and the archive that it becomes.
///
/// Secrets never get into it: every text passes ``redacted(_:)``.
struct CrashReport {
    /// Commands whose output is kept; the same on every machine, and what is missing says so itself.
    private static let commands = [
        ("system.txt", "uname -a; cat /etc/os-release; nproc; free -m; df -h; ulimit -a; ip -brief address"),
        ("gpu.txt", "nvidia-smi -q"),
        ("kernel.txt", "journalctl -k -b -n 2000 --no-pager || dmesg"),
        ("daemon.txt", "journalctl -u bitfusion-manager.service -n 20000 --no-pager"),
        ("crashes.txt", "coredumpctl list --no-pager"),
    ]
    private static let commandSeconds = 10
    private static let entryBytesMax = 4 << 20
    /// From so many hexadecimal digits on, a number may be a secret: a ticket has 64.
    private static let secretDigitsMin = 32

    /// The archive.
    let file: String
    /// The files in it, in the order in which they were gathered.
    private(set) var entries: [String] = []
    private let name: String
    private let parent: String
    private var folder: String { parent + "/" + name }

    init(name: String, file: String) throws {
        self.name = name
        self.file = file
        // Before the work is done, which takes some seconds.
        guard access(file, F_OK) != 0 else { throw Failure(.cannotCreate, "\(file) is there already") }
        let place = file.lastIndex(of: "/").map { String(file[...$0]) } ?? "."
        guard access(place, W_OK | X_OK) == 0 else {
            throw Failure(.cannotCreate, "cannot write \(file): \(String(cString: strerror(errno)))")
        }
        let temporary = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        var template = Array("\(temporary)/bitfusion-crashreport-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw Failure(.cannotCreate, "cannot make a folder in \(temporary): \(String(cString: strerror(errno)))")
        }
        parent = String(cString: made)
        guard mkdir(folder, 0o700) == 0 else {
            throw Failure(.cannotCreate, "cannot make \(folder): \(String(cString: strerror(errno)))")
        }
    }

    func removeFolder() { try? FileManager.default.removeItem(atPath: parent) }

    mutating func gather(_ node: NodeOptions, _ servers: ServerOptions) throws {
        try add("bitfusion.txt", "Bitfusion version: \(ProductVersion.number)\nUser: \(User.name)\n")
        try add("environment.txt", CrashReport.environment)
        switch try servers.knownServers() {
        case .success(let directory):
            try add("servers.txt", directory.servers.map { "\($0)\n" }.joined())
        case .failure(let failure): try add("servers.txt", failure.message + "\n")
        }
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            try add("health.json", String(decoding: encoder.encode(try node.report(servers)), as: UTF8.self))
        } catch let failure as Failure {
            try add("health.txt", "The checks were not run: \(failure.message)\n")
        } catch let reported as Reported {
            try add("health.txt", "The checks were not run: the server's program ended with \(reported.status)\n")
        }
        for (name, command) in CrashReport.commands { try add(name, CrashReport.output(of: command)) }
        for name in ["manager.json", "settings.json"] {
            guard let data = FileManager.default.contents(atPath: node.folder + "/" + name) else { continue }
            try add(name, String(decoding: data.prefix(CrashReport.entryBytesMax), as: UTF8.self))
        }
    }

    /// Makes the archive, readable by its owner alone; a file that is there stays.
    func pack() throws {
        let archive = parent + "/report.tar.gz"
        let (status, _) = try CapturedProcess("/bin/sh", ["-c", CrashReport.packing, "sh", parent, name, archive])
            .finish()
        guard status == 0, let data = FileManager.default.contents(atPath: archive) else {
            throw Failure(.cannotCreate, "tar ended with status \(status); it and gzip must be installed")
        }
        let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw Failure(.cannotCreate, "cannot write \(file): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var rest = [UInt8](data)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                let reason = String(cString: strerror(errno))
                unlink(file)
                throw Failure(.cannotCreate, "cannot write \(file): \(reason)")
            }
            rest = rest.dropFirst(count)
        }
    }

    private static let packing = #"exec tar -czf "$3" -C "$1" "$2""#

    private mutating func add(_ entry: String, _ text: String) throws {
        let bytes = CrashReport.redacted(Array(text.utf8))
        guard FileManager.default.createFile(atPath: folder + "/" + entry, contents: Data(bytes)) else {
            throw Failure(.cannotCreate, "cannot write \(folder)/\(entry): \(String(cString: strerror(errno)))")
        }
        entries.append(entry)
    }

    /// The variables that decide what the programs do.
    private static var environment: String {
        let names = ["LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "TMPDIR", "HOME", "LANG"]
        return ProcessInfo.processInfo.environment.sorted { $0.key < $1.key }
            .filter { name, _ in
                names.contains(name) || name.hasPrefix("CUDA_") || name.hasPrefix("NVIDIA_")
                    || (name.hasPrefix("BITFUSION_") && name != "BITFUSION_TICKET")
            }
            .map { "\($0.key)=\($0.value)\n" }.joined()
    }

    private static func output(of command: String) -> String {
        // `timeout` ends what hangs, and what is beyond the limit is not waited for.
        let bounded = ["\(commandSeconds)", "/bin/sh", "-c", "{ \(command); } 2>&1 | head -c \(entryBytesMax)"]
        guard let (status, output) = try? CapturedProcess("/usr/bin/timeout", bounded).finish() else {
            return "not asked: /usr/bin/timeout is missing\n"
        }
        let ending = status == 124 ? "\nended after \(commandSeconds) s\n" : ""
        return String(decoding: output, as: UTF8.self) + ending
    }

    /// The text without numbers that may be secrets.
    static func redacted(_ text: [UInt8]) -> [UInt8] {
        var kept: [UInt8] = []
        kept.reserveCapacity(text.count)
        var rest = text[...]
        while let first = rest.first {
            let digits = rest.prefix { isHexadecimal($0) }
            if digits.count >= secretDigitsMin {
                kept += Array("(left out)".utf8)
            } else if digits.isEmpty {
                kept.append(first)
                rest = rest.dropFirst()
            } else {
                kept += digits
            }
            rest = rest.dropFirst(digits.count)
        }
        return kept
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }
}

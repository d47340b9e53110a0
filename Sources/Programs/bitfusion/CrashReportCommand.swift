// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import Pool

struct CrashReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "crashreport", abstract: "Write a crash report into a file; nothing is sent anywhere",
        discussion: """
            Gathers what helps to find out why something has failed: versions, the health checks of this node, the \
            system's and the daemon's messages, the crashes that the system has noted, what nvidia-smi says, and on a \
            server the daemon's settings. It is written into an archive that only its owner may read, and stays on \
            this machine: look into it before you give it to anybody.

            Tickets, and whatever else may be a secret number (32 hexadecimal digits or more), are left out. Each \
            source may take 10 s and 4 MiB. What a user may not read is missing: root sees most.

            EXIT STATUS
              0   the report is written
              64  wrong usage
              73  the file cannot be written
            """)

    @OptionGroup var node: NodeOptions
    @OptionGroup var serverOptions: ServerOptions

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "Where to write it. bitfusion-crashreport-HOST-TIME.tar.gz in this folder when not given.",
            valueName: "file"), completion: .file())
    var output: String?

    @Flag(help: "Print JSON: the file, and what is in it.")
    var json = false

    func run() throws {
        try reporting {
            let name = "bitfusion-crashreport-\(hostname())-\(CrashReportCommand.timeText())"
            var report = try CrashReport(name: name, file: output ?? name + ".tar.gz")
            defer { report.removeFolder() }
            try report.gather(node, serverOptions)
            try report.pack()
            if json {
                try printJSON(Written(file: report.file, entries: report.entries))
            } else {
                print("Written: \(report.file)")
                print("It has \(report.entries.joined(separator: ", ")).")
                print("Nothing was sent. Look into it before you give it to anybody: tar -xzf \(report.file)")
            }
        }
    }

    private struct Written: Encodable {
        let file: String
        let entries: [String]
    }

    /// The time in UTC, as names of files have it.
    private static func timeText() -> String {
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = strftime(&text, text.count, "%Y%m%dT%H%M%SZ", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

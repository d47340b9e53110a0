// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CSystem
import FoundationEssentials
import Glibc
import ManagerClient

struct RequestGPUsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "request_gpus", abstract: "Request GPUs from a shared pool",
        usage: "bitfusion request_gpus -n <count> [options]",
        discussion: """
            The GPUs stay allocated until 'bitfusion release_gpus', however many applications 'bitfusion client' runs \
            on them meanwhile, from this shell or another. A process in the background holds them; when it ends, so \
            does the allocation.

            With --export, a line for the shell goes to standard output, which names the allocation for the commands \
            that follow: eval "$(bitfusion request_gpus -n 1 --export)". Without it they take the user's newest one.

            EXIT STATUS
              0   the GPUs are allocated
            \(HelpSections.requestFailures)

            \(HelpSections.serverFiles)
            \(HelpSections.allocationFiles)

            ENVIRONMENT
            \(HelpSections.allocationEnvironment)
            """)

    @OptionGroup var gpus: GPUOptions
    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print nothing but failures.")
    var quiet = false

    @Flag(help: "Print a line that names the allocation to the shell, for eval.")
    var export = false

    func run() throws {
        try reporting {
            guard gpus.demand != nil else { return }
            if let notice = gpus.notice { printError("bitfusion: \(notice)") }
            let words = CommandArguments(Array(CommandLine.arguments.dropFirst())).list.dropFirst()
            let path = try Holder.start(options: Array(words))
            if !quiet {
                let record = try AllocationStore.reading { () throws(AllocationStore.Failure) in
                    try AllocationStore.read(path)
                }
                printBanner(server: record.server, idleMinutes: record.idleMinutes)
                printError("configuration saved to \(path)")
            }
            if export { print("export BITFUSION_ALLOCATION=\(shellWord(path))") }
        }
    }
}

/// A text as one word of a shell.
func shellWord(_ text: String) -> String {
    let isPlain = text.utf8.allSatisfy { byte in
        byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z")
            || byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") || "/._-".utf8.contains(byte)
    }
    return isPlain ? text : "'" + text.replacing("'", with: "'\\''") + "'"
}

/// Where the user's allocations are described, as the environment has it.
extension AllocationStore {
    static var users: AllocationStore {
        AllocationStore(home: User.home, runtimeFolder: ProcessInfo.processInfo.environment["XDG_RUNTIME_DIR"])
    }

    /// The allocation of `BITFUSION_ALLOCATION`.
    static var named: String? { ProcessInfo.processInfo.environment["BITFUSION_ALLOCATION"] }

    /// Turns what is wrong with a file into a failure of the command.
    static func reading<Value>(_ body: () throws(Failure) -> Value) throws -> Value {
        do throws(Failure) {
            return try body()
        } catch {
            switch error {
            case .none(let reason):
                throw bitfusion.Failure(.noServer, "\(reason); 'bitfusion request_gpus -n 1' makes one")
            case .ended(let reason):
                throw bitfusion.Failure(.noServer, "\(reason); 'bitfusion request_gpus' makes another")
            case .unusable(let reason): throw bitfusion.Failure(.configuration, reason)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CSystem
import FoundationEssentials
import Glibc
import ManagerClient
import Pool
import Threads

/// The process behind `request_gpus`: asks for the GPUs, describes them in a file, and holds them until it is told to
/// give them back, or the server ends the allocation.
struct HoldGPUsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold_gpus", abstract: "Hold GPUs for request_gpus", shouldDisplay: false)

    @OptionGroup var gpus: GPUOptions
    @OptionGroup var serverOptions: ServerOptions
    @Flag var quiet = false
    @Flag var export = false

    func run() throws {
        try reporting {
            guard let demand = gpus.demand else { return }
            // Until there is an allocation, Ctrl-C or the end of `request_gpus` is the end of this.
            csystem_end_with_parent(SIGTERM)
            let signals = SignalSet([SIGTERM, SIGINT, SIGHUP, SIGUSR1])
            let owner = try GPURequest(
                servers: try serverOptions.servers(), demand: demand, filters: gpus.filters,
                waitSeconds: gpus.timeout.seconds, isQuiet: quiet
            ).perform(for: "request_gpus")
            signals.block()
            guard let holder = HolderProcess(pid: getpid()) else {
                throw Failure(.configuration, "/proc does not show this process")
            }
            let entry: AllocationStore.Entry
            do {
                entry = try AllocationStore.reading { () throws(AllocationStore.Failure) in
                    try AllocationStore.users.save(
                        AllocationRecord(
                            id: AllocationRecord.newID(), server: owner.server.description,
                            dispatcher: owner.dispatcher, ticket: owner.ticket, idleMinutes: owner.idleMinutes,
                            holder: holder))
                }
            } catch {
                owner.release()
                throw error
            }
            guard hand(entry.path) else {
                owner.release()
                AllocationStore.users.remove(entry)
                return
            }
            hold(owner, entry, signals)
        }
    }

    /// Tells `request_gpus` where the file is, and lets go of what it was started from.
    ///
    /// False when nobody is left to hear it.
    private func hand(_ path: String) -> Bool {
        csystem_end_with_parent(0)
        let bytes = Array((path + "\n").utf8)
        guard write(1, bytes, bytes.count) == bytes.count else { return false }
        let nothing = open("/dev/null", O_RDWR | O_CLOEXEC)
        dup2(nothing, 1)
        // Warnings of the server still reach a terminal; a pipe must see its end when `request_gpus` ends.
        if isatty(2) == 0 || quiet { dup2(nothing, 2) }
        close(nothing)
        chdir("/")
        return true
    }

    private func hold(_ owner: GrantedGPUs, _ entry: AllocationStore.Entry, _ signals: SignalSet) {
        let ending = Watched<String?>(nil)
        startThread {
            let reason = owner.waitForEnd()
            ending.withLock { $0 = reason }
            kill(getpid(), SIGUSR1)
        }
        _ = signals.wait()
        if let reason = ending.withLock({ $0 }) {
            AllocationStore.users.end(entry, because: reason)
        } else {
            owner.release()
            AllocationStore.users.remove(entry)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import ManagerClient
import Pool
import Threads

struct ReleaseGPUsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release_gpus",
        abstract: "Release GPUs back into a shared pool. Options must match a previous request_gpus command",
        discussion: """
            Releases the allocation of -f or of BITFUSION_ALLOCATION, otherwise the newest. Applications that still \
            run in it are ended.

            EXIT STATUS
              0   the GPUs are free; with -q also when there was no allocation
              64  wrong usage
              69  there is no allocation, or its server was not reached
              78  a file that cannot be used

            FILES
            \(HelpSections.allocationFiles)

            ENVIRONMENT
            \(HelpSections.allocationEnvironment)
            """)

    @Option(
        name: [.customShort("f"), .customLong("file")],
        help: ArgumentHelp("The allocation's file, or its ID.", valueName: "file"),
        completion: .file(extensions: ["json"]))
    var file: String?

    @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Do not mind when there is no allocation.")
    var quiet = false

    /// How long the holder may take to give the GPUs back: the server ends what runs on them first.
    private static let holderMilliseconds: Int64 = 15_000

    func run() throws {
        try reporting {
            let entry: AllocationStore.Entry
            do throws(AllocationStore.Failure) {
                entry = try AllocationStore.users.find(file ?? AllocationStore.named)
            } catch {
                switch error {
                case .none(let reason), .ended(let reason):
                    if quiet { return }
                    throw Failure(.noServer, "\(reason), so there is nothing to release")
                case .unusable(let reason): throw Failure(.configuration, reason)
                }
            }
            switch entry.record.holder.state {
            case .alive: try tellHolder(entry)
            case .gone: break
            case .elsewhere: try tellServer(entry)
            }
            AllocationStore.users.remove(entry)
            if !quiet { printError("Released the GPUs of server \(entry.record.server)") }
        }
    }

    /// The holder gives the GPUs back, and ends when they are free.
    private func tellHolder(_ entry: AllocationStore.Entry) throws {
        let holder = entry.record.holder
        kill(holder.pid, SIGTERM)
        let deadline = monotonicMilliseconds() + ReleaseGPUsCommand.holderMilliseconds
        while holder.state == .alive {
            guard monotonicMilliseconds() < deadline else {
                throw Failure(
                    .noServer,
                    "server \(entry.record.server) does not confirm the release; its holder (process \(holder.pid)) waits on"
                )
            }
            usleep(5_000)
        }
    }

    /// The holder runs on another machine: the ticket is the right to release what it holds.
    private func tellServer(_ entry: AllocationStore.Entry) throws {
        guard let address = ServerAddress(entry.record.server) else { return }
        do throws(SchedulerClient.Failure) {
            let client = try SchedulerClient(address)
            var request = SchedulerRequest(.release)
            request.ticket = entry.record.ticket
            try client.send(request)
            let reply = try client.answer()
            if reply.type != .released {
                printError("bitfusion: server \(address): \(reply.message ?? "the allocation had ended already")")
            }
        } catch {
            throw Failure(.noServer, error.message)
        }
    }
}

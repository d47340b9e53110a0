// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import ManagerClient
import Pool

struct ListGPUsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list_gpus", abstract: "List the available GPUs in a shared pool.",
        discussion: """
            Asks every server of the list. The exit status is 0 when all answered, 69 when one did not.

            FILES
              ~/.bitfusion/servers.conf    the user's servers, one address a line
              /etc/bitfusion/servers.conf  the system's servers, when the user has none
            """)

    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try reporting {
            let servers = try serverOptions.servers()
            var listed: [ListedServer] = []
            for server in servers { listed.append(ListedServer(server)) }
            if json { try printJSON(listed) } else { printText(listed) }
            if let missing = listed.first(where: { $0.error != nil }), json || listed.count == 1 {
                throw Failure(.noServer, missing.error ?? "")
            }
            if listed.contains(where: { $0.error != nil }) { throw ExitCode(Failure.Status.noServer.rawValue) }
        }
    }

    private func printText(_ servers: [ListedServer]) {
        for (index, server) in servers.enumerated() {
            if let error = server.error {
                print("- server \(index) [\(server.address)]: unreachable (\(error))")
                continue
            }
            print("- server \(index) [\(server.address)]: running \(server.runningTasks ?? 0) tasks")
            for gpu in server.gpus ?? [] {
                print("|- GPU \(gpu.index): free memory \(gpu.freeMiB ?? 0) MiB / \(gpu.totalMiB) MiB")
            }
        }
    }

    private func printJSON(_ servers: [ListedServer]) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(["servers": servers]), as: UTF8.self))
    }
}

/// A server and what it answered.
private struct ListedServer: Codable {
    let address: String
    var error: String?
    var driverVersion: Int?
    var runningTasks: Int?
    var waitingTasks: Int?
    var gpus: [SchedulerReply.Entry]?

    init(_ server: ServerAddress) {
        address = server.description
        do throws(SchedulerClient.Failure) {
            let reply = try SchedulerClient(server).list()
            driverVersion = reply.driverVersion
            runningTasks = reply.runningTasks
            waitingTasks = reply.waitingTasks
            gpus = reply.gpus
        } catch {
            self.error = error.message
        }
    }

    enum CodingKeys: String, CodingKey {
        case address, error, gpus
        case driverVersion = "driver_version"
        case runningTasks = "running_tasks"
        case waitingTasks = "waiting_tasks"
    }
}

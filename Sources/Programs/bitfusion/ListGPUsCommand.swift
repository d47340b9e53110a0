// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import ManagerClient
import Pool

struct ListGPUsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list_gpus", abstract: "List the available GPUs in a shared pool",
        discussion: """
            Asks every server of the list, all at once. A server that is draining lets its tasks finish and accepts no \
            new ones.

            \(HelpSections.listingStatus)

            \(HelpSections.serverFiles)
            """)

    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try reporting {
            let answers = try ServerAnswers(of: serverOptions.servers()) { client throws(SchedulerClient.Failure) in
                try client.list()
            }
            let listed = answers.answers.map(ListedServer.init)
            if json { try printJSON(["servers": listed]) } else { printText(listed) }
            let failures = listed.compactMap(\.error)
            if let failure = failures.first, json || listed.count == 1 { throw Failure(.noServer, failure) }
            if !failures.isEmpty { throw ExitCode(Failure.Status.noServer.rawValue) }
        }
    }

    private func printText(_ servers: [ListedServer]) {
        for (index, server) in servers.enumerated() {
            if let error = server.error {
                print("- server \(index) [\(server.address)]: unreachable (\(error))")
                continue
            }
            let draining = server.isDraining ? ", draining" : ""
            print("- server \(index) [\(server.address)]: running \(server.runningTasks ?? 0) tasks\(draining)")
            for gpu in server.gpus ?? [] {
                print("|- GPU \(gpu.index): free memory \(gpu.freeMiB ?? 0) MiB / \(gpu.totalMiB) MiB")
            }
        }
    }
}

/// A server and what it answered.
private struct ListedServer: Encodable {
    let address: String
    let error: String?
    let driverVersion: Int?
    let runningTasks: Int?
    let waitingTasks: Int?
    let isDraining: Bool
    let gpus: [SchedulerReply.Entry]?

    init(_ answer: ServerAnswers<SchedulerReply>.Answer) {
        let reply = answer.value
        address = answer.address.description
        error = answer.failure
        driverVersion = reply?.driverVersion
        runningTasks = reply?.runningTasks
        waitingTasks = reply?.waitingTasks
        isDraining = reply?.isDraining ?? false
        gpus = reply?.gpus
    }

    enum CodingKeys: String, CodingKey {
        case address, error, gpus
        case driverVersion = "driver_version"
        case runningTasks = "running_tasks"
        case waitingTasks = "waiting_tasks"
        case isDraining = "is_draining"
    }
}

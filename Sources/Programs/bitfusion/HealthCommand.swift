// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Health
import ManagerClient
import Pool

struct HealthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health", abstract: "Run health check on all specified servers and current node",
        discussion: """
            Runs the checks of this node, as localhealth does, and asks every server of the list for its own, all at \
            once. A server that is not reached is fatal.

            \(HelpSections.healthStatus)

            \(HelpSections.healthFiles)
            """, aliases: ["H"])

    @OptionGroup var node: NodeOptions
    @OptionGroup var serverOptions: ServerOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try reporting {
            let servers = try serverOptions.knownServers()
            let answers = (try? servers.get()).map { directory in
                ServerAnswers(of: directory) { client throws(SchedulerClient.Failure) in try client.health() }.answers
            }
            // The servers first: what their clients measure would be in the way of their own measurements.
            let own = CheckedNode(node: "this node", report: try node.report(serverOptions), error: nil)
            let others = (answers ?? []).map {
                CheckedNode(node: "server \($0.address)", report: $0.value, error: $0.failure)
            }
            let nodes = [own] + others
            let worst = nodes.map(\.status).max() ?? .fatal
            if json {
                try printJSON(CheckedNodes(status: worst, nodes: nodes))
            } else {
                print(nodes.map { $0.lines.joined(separator: "\n") }.joined(separator: "\n\n"))
            }
            throw worst.exitCode
        }
    }
}

/// A node and its report, or why there is none.
private struct CheckedNode: Encodable {
    let node: String
    let report: HealthReport?
    let error: String?

    var status: HealthStatus { report?.status ?? .fatal }

    var lines: [String] {
        guard let report else { return ["\(node): unreachable", "  overall fatal: \(error ?? "it does not answer")"] }
        return HealthText(report, node: node).lines
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(node, forKey: .node)
        try container.encode(status, forKey: .status)
        try container.encode(report, forKey: .report)
        try container.encode(error, forKey: .error)
    }

    private enum CodingKeys: String, CodingKey {
        case node, status, report, error
    }
}

private struct CheckedNodes: Encodable {
    let status: HealthStatus
    let nodes: [CheckedNode]
}

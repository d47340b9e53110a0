// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import ManagerClient

/// The options that choose servers.
struct ServerOptions: ParsableArguments {
    @Option(
        name: [.customShort("l"), .customLong("server_list")],
        help: ArgumentHelp("Servers to use: addresses separated by ';' or ','.", valueName: "address;..."))
    var list: String?

    @Option(
        name: [.customShort("s"), .customLong("servers")],
        help: ArgumentHelp("A file that lists the servers to use, one a line.", valueName: "file"), completion: .file())
    var file: String?

    func servers() throws -> ServerDirectory {
        do throws(ServerList.Failure) {
            return try ServerList.load(list: list, file: file, home: User.home).directory()
        } catch {
            switch error.kind {
            case .missing: throw Failure(.noServer, error.message)
            case .malformed: throw Failure(.configuration, error.message)
            case .unreadable(let path):
                throw Failure(.notAllowed, ReadersGroup(of: path)?.refusal(of: path) ?? error.message)
            }
        }
    }
}

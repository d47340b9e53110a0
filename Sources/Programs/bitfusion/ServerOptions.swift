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
            throw Failure(error.kind == .missing ? .noServer : .configuration, error.message)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CCallTrace
import CSystem
import Driver
import Glibc
import ProgramImage
package import Transport
import Wire

extension RemoteDriver {
    /// Connects to the worker that `bitfusion run` has arranged for: BITFUSION_SERVER and BITFUSION_TICKET.
    package static func connect() throws(ConnectionFailure) -> RemoteDriver {
        guard let server = environment("BITFUSION_SERVER") else {
            throw ConnectionFailure(
                "no GPU server is chosen (BITFUSION_SERVER is not set); start the program with `bitfusion run -n 1 -- ...`"
            )
        }
        guard let endpoint = Endpoint(server) else {
            throw ConnectionFailure("BITFUSION_SERVER is neither host:port nor unix:/path: \(server)")
        }
        guard let text = environment("BITFUSION_TICKET"), let ticket = Hello.ticket(hexadecimal: text) else {
            throw ConnectionFailure(
                "BITFUSION_TICKET is not a ticket of \(2 * Hello.ticketByteCount) hexadecimal digits")
        }
        return try connect(to: endpoint, ticket: ticket, transport: try TransportChoice())
    }

    /// Connects and shakes hands.
    ///
    /// The failure's message names the server and what to do.
    package static func connect(
        to endpoint: Endpoint, ticket: [UInt8], transport: TransportChoice = .automatic
    ) throws(ConnectionFailure) -> RemoteDriver {
        let begin = calltrace_wait_begin()
        defer { calltrace_wait_end(begin) }
        let connection = try Connection.connect(to: endpoint)
        let hello = Hello(
            ticket: ticket, processID: UInt32(getpid()), canShareMemory: transport != .tcp,
            programName: String(cString: csystem_program_name()))
        connection.setReadTimeout(seconds: helloSecondsMax)
        guard hello.bytes.withUnsafeBytes({ connection.write($0) }) else {
            throw ConnectionFailure("\(endpoint) closed the connection: \(errorText(errno))")
        }
        let (description, abilities, offer) = try readReply(connection, endpoint, mayOffer: transport != .tcp)
        let settled = if let offer { try Connection.settle(connection, offer) } else { connection }
        if transport == .sharedMemory && settled.shared == nil {
            throw ConnectionFailure(
                "BITFUSION_TRANSPORT is shm, but \(endpoint) shares no memory with this process: it is on another machine or "
                    + "in another network namespace")
        }
        settled.setReadTimeout(seconds: 0)
        let images = ImagePolicy(
            abilities: abilities, selection: CodeSelection(description, compilation: .ofProcess()),
            mayBeKept: environment("CUDA_CACHE_DISABLE").flatMap { Int($0) } ?? 0 == 0)
        return RemoteDriver(settled, description, server: endpoint.description, images: images)
    }

    /// A worker that has to start its driver first may take this long.
    private static var helloSecondsMax: Int { 30 }

    private static func readReply(
        _ connection: Connection, _ endpoint: Endpoint, mayOffer: Bool
    ) throws(ConnectionFailure) -> (DriverDescription, ImageAbilities, SharedMemoryOffer?) {
        var header = [UInt8](repeating: 0, count: HelloReply.headerByteCount)
        guard header.withUnsafeMutableBytes({ connection.readExactly($0) }) else {
            throw ConnectionFailure("\(endpoint) did not answer: is it the data port of a bitfusion server?")
        }
        let status: HelloReply.Status
        var body: [UInt8]
        do throws(WireError) {
            let (found, count) = try HelloReply.header(header)
            status = found
            body = [UInt8](repeating: 0, count: count)
        } catch {
            throw ConnectionFailure("\(endpoint) is not a bitfusion server: \(error)")
        }
        guard body.withUnsafeMutableBytes({ connection.readExactly($0) }) else {
            throw ConnectionFailure("\(endpoint) closed the connection in the middle of its answer")
        }
        guard status == .accepted else {
            throw ConnectionFailure("\(endpoint) refused the connection: \(String(decoding: body, as: UTF8.self))")
        }
        var reader = WireReader(body.span.bytes)
        do throws(WireError) {
            let description = try reader.readDriverDescription()
            let abilities = ImageAbilities(rawValue: try reader.read(UInt8.self))
            let offer = mayOffer && reader.byteCount > 0 ? try reader.readSharedMemoryOffer() : nil
            return (description, abilities, offer)
        } catch {
            throw ConnectionFailure(
                "\(endpoint) described its GPUs in a way that this version does not understand: \(error)")
        }
    }

}

/// The value of an environment variable; nil when it is not set or empty.
private func environment(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
}

/// How a client talks with its worker.
package enum TransportChoice: String, Sendable {
    /// Through shared memory on one machine, over the connection otherwise.
    case automatic = "auto"
    case tcp
    case sharedMemory = "shm"

    /// What the environment says: BITFUSION_TRANSPORT.
    init() throws(ConnectionFailure) {
        guard let text = environment("BITFUSION_TRANSPORT") else {
            self = .automatic
            return
        }
        guard let choice = TransportChoice(rawValue: text) else {
            throw ConnectionFailure("BITFUSION_TRANSPORT is 'auto', 'tcp' or 'shm', not '\(text)'")
        }
        self = choice
    }
}

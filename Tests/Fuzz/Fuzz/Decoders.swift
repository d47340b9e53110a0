// SPDX-License-Identifier: Apache-2.0
import Driver
import FoundationEssentials
import ManagerClient
import PTX
import Pool
import TraceAnalysis
import Wire

// Each target's promise is the same: whatever the bytes are, the answer is a value or an error, soon. Where something
// can be read, what is written from it reads as the same.

/// The values inside frames and replies.
func fuzzFrames(_ bytes: [UInt8]) -> Int32 {
    guard let kind = bytes.first else { return 0 }
    let rest = Array(bytes.dropFirst())
    var reader = WireReader(rest.span.bytes)
    do throws(WireError) {
        switch kind % 6 {
        case 0:
            let description = try reader.readDriverDescription()
            var writer = PayloadWriter()
            writer.write(description)
            let written = writer.bytes
            var again = WireReader(written.span.bytes)
            let second = try again.readDriverDescription()
            precondition(second.devices.count == description.devices.count, "a description reads back")
        case 1: _ = try reader.readFunctionDescription()
        case 2: _ = try reader.readJITOptions()
        case 3: _ = try reader.readLinkInputs()
        case 4: _ = try reader.readJITLog()
        default:
            _ = try reader.readText()
            _ = try reader.readBytes(limit: 1 << 16)
            _ = try reader.readCount()
            try reader.finish()
        }
    } catch {
        _ = error.description
    }
    return 0
}

/// The first bytes of a connection, in both directions.
func fuzzHello(_ bytes: [UInt8]) -> Int32 {
    if let hello = try? Hello(bytes: bytes) {
        precondition((try? Hello(bytes: hello.bytes)) == hello, "a hello reads back as it was written")
    }
    if let (_, count) = try? HelloReply.header(Array(bytes.prefix(HelloReply.headerByteCount))) {
        precondition(count <= HelloReply.bodyBytesMax, "a body has a limit")
    }
    _ = Hello.ticket(hexadecimal: String(decoding: bytes, as: UTF8.self))
    return 0
}

/// Lines between commands and schedulers.
func fuzzMessages(_ bytes: [UInt8]) -> Int32 {
    let data = Data(bytes)
    if let request = try? JSONDecoder().decode(SchedulerRequest.self, from: data) {
        _ = try? Filter(request.filters ?? [])
        if let encoded = try? JSONEncoder().encode(request) {
            precondition(
                (try? JSONDecoder().decode(SchedulerRequest.self, from: encoded)) != nil, "a request reads back")
        }
    }
    _ = try? JSONDecoder().decode(SchedulerReply.self, from: data)
    _ = try? PoolSettings(json: bytes)
    return 0
}

/// A servers.conf in both forms, and the list of `-l`.
func fuzzServers(_ bytes: [UInt8]) -> Int32 {
    let text = String(decoding: bytes, as: UTF8.self)
    do throws(ServerList.Failure) {
        for entry in try ServerList.parse(file: text, path: "servers.conf") {
            precondition(!"\(entry)".isEmpty, "an entry has a text")
        }
    } catch {
        precondition(!error.message.contains("\n") || text.contains("\n"), "a failure is a line")
    }
    _ = try? ServerList.parse(list: text)
    return 0
}

/// A module in PTX.
func fuzzPTX(_ bytes: [UInt8]) -> Int32 {
    _ = try? Parser.parse(bytes)
    return 0
}

/// A file for `bitfusion trace`.
func fuzzTrace(_ bytes: [UInt8]) -> Int32 {
    var rest = bytes[...]
    guard
        var reader = try? TraceReader({ count in
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        })
    else { return 0 }
    var statistics = TraceStatistics()
    var events = ChromeTrace(origin: 0)
    _ = reader.forEachCall { call in
        statistics.add(call)
        _ = events.event(call)
    }
    _ = statistics.summary().text
    return 0
}

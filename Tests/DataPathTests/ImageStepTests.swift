// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Content
import Driver
import Glibc
import ModuleCache
import RemoteDriver
import Session
import SoftGPU
import Testing
import Transport
import Wire

/// A client that writes the frames of a load by hand.
private final class FrameClient {
    private let connection: Connection
    private var sequence: UInt64 = 0
    private let ended: @Sendable () -> Session.End?

    init(cache: ModuleCache?) throws {
        let (client, server) = try DriverContract.connectionPair()
        connection = client
        client.setReadTimeout(seconds: 20)
        let driver = try SoftGPU(SoftGPUConfiguration("1x64"))
        let end = EndOfSession()
        ended = { end.wait() }
        let session = SessionBox(Session(server, driver: driver, cache: cache))
        DriverContract.startThread { end.set(session.session.run()) }
        var payload = PayloadWriter()
        payload.write(UInt64(1))
        payload.write(Int32(0))
        #expect(try call(.cuDevicePrimaryCtxRetain, payload, context: 0).status == 0)
    }

    private struct SessionBox: @unchecked Sendable {
        let session: Session
        init(_ session: Session) { self.session = session }
    }

    func post(_ payload: PayloadWriter, call: Call = .cuModuleLoadDataEx, context: UInt64 = 1, waits: Bool = false) {
        sequence += 1
        var frame = [UInt8](repeating: 0, count: FrameHeader.byteCount)
        frame.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            FrameHeader(
                payloadByteCount: UInt32(payload.bytes.count), call: call.rawValue, flags: waits ? .wantsReply : [],
                sequence: sequence, context: context
            ).store(at: base)
        }
        frame += payload.bytes
        _ = frame.withUnsafeBytes { connection.write($0) }
    }

    func call(_ call: Call, _ payload: PayloadWriter, context: UInt64 = 1) throws -> (status: UInt32, bytes: [UInt8]) {
        post(payload, call: call, context: context, waits: true)
        var header = [UInt8](repeating: 0, count: ReplyHeader.byteCount)
        try #require(header.withUnsafeMutableBytes { connection.readExactly($0) })
        let (count, status) = header.withUnsafeBytes {
            ($0.loadUnaligned(as: UInt32.self), $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        }
        var bytes = [UInt8](repeating: 0, count: Int(count))
        try #require(count == 0 || bytes.withUnsafeMutableBytes { connection.readExactly($0) })
        return (status, bytes)
    }

    /// How the session ended, after the client has said what it had to say.
    func end() -> Session.End? {
        connection.shutDown()
        return ended()
    }
}

private final class EndOfSession: @unchecked Sendable {
    private var end: Session.End?
    private var lock = pthread_mutex_t()

    init() { pthread_mutex_init(&lock, nil) }

    func set(_ end: Session.End) {
        pthread_mutex_lock(&lock)
        self.end = end
        pthread_mutex_unlock(&lock)
    }

    func wait() -> Session.End? {
        for _ in 0..<5000 {
            pthread_mutex_lock(&lock)
            defer { pthread_mutex_unlock(&lock) }
            if let end { return end }
            usleep(2000)
        }
        return nil
    }
}

/// The steps in which a session is given an image.
@Suite struct ImageStepTests {
    private let place: TemporaryFolder
    private let image: [UInt8] =
        Array((ContractPTX.add + "// ballast, so that it is kept\n").utf8)
        + [UInt8](repeating: UInt8(ascii: "\n"), count: Limits.keptImageBytesMin)

    init() throws { place = try TemporaryFolder() }

    private func client(caching: Bool = true) throws -> FrameClient {
        try FrameClient(cache: caching ? ModuleCache(path: place.path, bytesMax: 1 << 20) { _ in } : nil)
    }

    private func begin(_ module: UInt64, _ step: ImageStep, mayBeKept: Bool = true) -> PayloadWriter {
        var payload = PayloadWriter()
        payload.write(module)
        payload.write(step.rawValue)
        if step != .part { payload.write(ImageRequest(mayBeKept: mayBeKept, options: [])) }
        return payload
    }

    private func part(
        _ module: UInt64, _ bytes: ArraySlice<UInt8>, of total: Int, encoding: UInt8 = 0, says count: Int? = nil
    ) -> PayloadWriter {
        var payload = begin(module, .part)
        payload.write(UInt64(total))
        payload.write(encoding)
        payload.write(UInt32(count ?? bytes.count))
        bytes.forEach { payload.write($0) }
        return payload
    }

    private func known(_ module: UInt64, _ image: [UInt8], byteCount: UInt64? = nil) throws -> PayloadWriter {
        var payload = begin(module, .known)
        payload.write(byteCount ?? UInt64(image.count))
        try #require(image.withUnsafeBytes { ContentHash(of: $0) }).bytes.forEach { payload.write($0) }
        return payload
    }

    private func sendParts(_ client: FrameClient, _ module: UInt64) {
        client.post(part(module, image[..<1000], of: image.count))
        client.post(part(module, image[1000...], of: image.count))
    }

    @Test func saysThatAnImageIsMissingUntilItHasBeenSent() throws {
        let first = try client()
        let asked = try first.call(.cuModuleLoadDataEx, known(5, image))
        #expect(asked.status == 0)
        #expect(asked.bytes == [ImageAnswer.missing.rawValue])
        sendParts(first, 5)
        let sent = try first.call(.cuModuleLoadDataEx, begin(5, .assembled))
        #expect(sent.status == 0)
        #expect(sent.bytes.first == ImageAnswer.found.rawValue)
        #expect(first.end() == .clientClosed)
        let second = try client()
        let found = try second.call(.cuModuleLoadDataEx, known(9, image))
        #expect(found.status == 0)
        #expect(found.bytes.first == ImageAnswer.found.rawValue)
        // And it is the module that it should be.
        var payload = PayloadWriter()
        payload.write(UInt64(10))
        payload.write(UInt64(9))
        payload.write(text: "add")
        #expect(try second.call(.cuModuleGetFunction, payload).status == 0)
    }

    @Test func keepsNothingWithoutACacheOrAgainstTheClientsWish() throws {
        for (caching, mayBeKept) in [(false, true), (true, false)] {
            let client = try client(caching: caching)
            sendParts(client, 5)
            #expect(try client.call(.cuModuleLoadDataEx, begin(5, .assembled, mayBeKept: mayBeKept)).status == 0)
            #expect(try client.call(.cuModuleLoadDataEx, known(6, image)).bytes == [ImageAnswer.missing.rawValue])
        }
        #expect(place.images.isEmpty)
    }

    /// What an image is called is computed from what was sent: nothing that a client says makes it another's.
    @Test func anImageHasTheNameOfItsContentOnly() throws {
        let client = try client()
        var other = image
        other[other.count - 1] = UInt8(ascii: " ")
        _ = try client.call(.cuModuleLoadDataEx, known(5, image))
        client.post(part(5, other[...], of: other.count))
        #expect(try client.call(.cuModuleLoadDataEx, begin(5, .assembled)).status == 0)
        #expect(try client.call(.cuModuleLoadDataEx, known(6, image)).bytes == [ImageAnswer.missing.rawValue])
        #expect(try client.call(.cuModuleLoadDataEx, known(7, other)).bytes.first == ImageAnswer.found.rawValue)
    }

    @Test func takesCompressedParts() throws {
        let zstandard = try #require(Zstandard.ofMachine)
        var room = [UInt8](repeating: 0, count: image.count)
        let count = try #require(
            image.withUnsafeBytes { source in room.withUnsafeMutableBytes { zstandard.compress(source, into: $0) } })
        let client = try client()
        client.post(part(5, room[..<count], of: image.count, encoding: 1, says: image.count))
        #expect(try client.call(.cuModuleLoadDataEx, begin(5, .assembled)).status == 0)
        #expect(try client.call(.cuModuleLoadDataEx, known(6, image)).bytes.first == ImageAnswer.found.rawValue)
    }

    @Test func aRefusedImageHasItsLog() throws {
        let client = try client()
        var payload = begin(5, .whole)
        Array("this is no PTX".utf8).forEach { payload.write($0) }
        let refused = try client.call(.cuModuleLoadDataEx, payload)
        #expect(refused.status == CUDA_ERROR_INVALID_IMAGE.rawValue)
        #expect(refused.bytes.count > 9)
        #expect(client.end() == .clientClosed)
    }

    @Test func whatCannotBeLoadedIsNotKept() throws {
        let client = try client()
        let damaged = [UInt8](repeating: UInt8(ascii: "x"), count: image.count)
        client.post(part(5, damaged[...], of: damaged.count))
        #expect(try client.call(.cuModuleLoadDataEx, begin(5, .assembled)).status != 0)
        #expect(place.images.isEmpty)
    }

    @Test func anotherImageEndsTheOneThatWasOnItsWay() throws {
        let client = try client()
        client.post(part(5, image[..<1000], of: image.count))
        sendParts(client, 6)
        #expect(try client.call(.cuModuleLoadDataEx, begin(6, .assembled)).status == 0)
        client.post(begin(5, .assembled))
        #expect(client.end() == .protocolBroken(WireError.malformedImage.description))
    }

    @Test(arguments: [
        "incomplete", "none", "too much", "other total", "wrong length", "no zstd", "unknown encoding", "unknown step",
        "empty part", "large part", "large image", "large name",
    ])
    func endsASessionThatBreaksTheRules(_ how: String) throws {
        let client = try client()
        let (total, limit) = (image.count, Limits.imageBytesMax)
        switch how {
        case "incomplete":
            client.post(part(5, image[..<1000], of: total))
            client.post(begin(5, .assembled))
        case "none": client.post(begin(5, .assembled))
        case "too much": client.post(part(5, image[...], of: total - 1))
        case "other total":
            client.post(part(5, image[..<1000], of: total))
            client.post(part(5, image[1000...], of: total + 1))
        case "wrong length": client.post(part(5, image[..<1000], of: total, says: 999))
        case "no zstd": client.post(part(5, image[..<1000], of: total, encoding: 1, says: 5000))
        case "unknown encoding": client.post(part(5, image[..<1000], of: total, encoding: 2))
        case "unknown step":
            var payload = PayloadWriter()
            payload.write(UInt64(5))
            payload.write(UInt8(4))
            client.post(payload)
        case "empty part": client.post(part(5, [], of: total))
        case "large part": client.post(part(5, [1], of: limit, encoding: 1, says: Limits.imagePartBytesMax + 1))
        case "large image": client.post(part(5, [1], of: limit + 1))
        default: client.post(try known(5, image, byteCount: .max))
        }
        guard case .protocolBroken = client.end() else {
            Issue.record("the session goes on")
            return
        }
    }
}

/// The same from the client's side, as programs do it.
@Suite struct KeptImageTests {
    private let place: TemporaryFolder

    init() throws { place = try TemporaryFolder() }

    private func load(_ text: String, mayBeKept: Bool = true) throws {
        let driver = try DriverContract.remoteDriver(
            of: SoftGPU(SoftGPUConfiguration("1x64")), cachePath: place.path, mayBeKept: mayBeKept)
        let context = try driver.cuDevicePrimaryCtxRetain(dev: 0)
        var log = JITLog()
        let module = try driver.cuModuleLoadDataEx(
            context, image: Array(text.utf8).span.bytes, options: [], log: &log)
        #expect(try driver.cuModuleEnumerateFunctions(context, hmod: module).contains("add"))
    }

    private static let large = ContractPTX.add + String(repeating: "// ballast\n", count: 200_000)

    @Test func asksForLargeImagesOnly() throws {
        try load(ContractPTX.add)
        #expect(place.images.isEmpty)
        try load(Self.large)
        #expect(place.images.count == 1)
        try load(Self.large)
        #expect(place.images.count == 1)
    }

    @Test func keepsNothingAgainstTheApplicationsWish() throws {
        try load(Self.large, mayBeKept: false)
        #expect(place.images.isEmpty)
    }

    @Test func sendsAgainWhatIsDamaged() throws {
        try load(Self.large)
        let path = place.path + "/" + place.images[0]
        let file = open(path, O_WRONLY)
        #expect(pwrite(file, "damage", 6, 1000) == 6)
        close(file)
        try load(Self.large)
        var content = [UInt8](repeating: 0, count: 6)
        let repaired = open(path, O_RDONLY)
        #expect(pread(repaired, &content, 6, 1000) == 6)
        close(repaired)
        #expect(content != Array("damage".utf8))
    }
}

// SPDX-License-Identifier: Apache-2.0
import Content
import Glibc
import Synchronization
import Testing

@testable import ModuleCache

/// A folder that goes with its test.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/bitfusion-cache-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw CacheFailure("no folder: \(errorText())") }
        path = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    deinit {
        guard let folder = opendir(path) else { return }
        while let entry = readdir(folder) {
            withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { _ = unlinkat(dirfd(folder), $0, 0) }
            }
        }
        closedir(folder)
        rmdir(path)
    }

    /// The names of the images in it.
    var images: [String] {
        guard let folder = try? CacheFolder(path: path) else { return [] }
        return folder.files().map(\.name).sorted()
    }
}

@Suite struct ModuleCacheTests {
    private let place: TemporaryFolder

    init() throws { place = try TemporaryFolder() }

    private func cache(bytesMax: Int = 1 << 20, report: @escaping (String) -> Void = { _ in }) throws -> ModuleCache {
        try ModuleCache(path: place.path, bytesMax: bytesMax, report: report)
    }

    private func image(_ number: Int, bytes: Int = 1000) -> [UInt8] {
        (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ number &* 7 &+ $0 >> 8) }
    }

    private func hash(_ image: [UInt8]) throws -> ContentHash {
        try #require(image.withUnsafeBytes { ContentHash(of: $0) })
    }

    private func found(_ image: [UInt8], in cache: ModuleCache) throws -> Bool {
        guard let kept = cache.image(try hash(image), byteCount: image.count) else { return false }
        return kept.bytes.elementsEqual(image)
    }

    private func keep(_ image: [UInt8], in cache: ModuleCache) { image.withUnsafeBytes { cache.keep($0) } }

    /// Says that an image was last used so many seconds ago.
    private func age(_ image: [UInt8], seconds: Int) throws {
        var times = [timespec(), timespec()]
        clock_gettime(CLOCK_REALTIME, &times[0])
        times[0].tv_sec -= seconds
        times[1] = times[0]
        #expect(utimensat(AT_FDCWD, place.path + "/" + (try hash(image)).hexadecimal, times, 0) == 0)
    }

    @Test func namesContentsByTheirSHA256() throws {
        // FIPS 180-2, appendix B.1.
        #expect(
            try hash(Array("abc".utf8)).hexadecimal
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        guard var hasher = ContentHasher() else {
            Issue.record("no libcrypto")
            return
        }
        for piece in ["a", "", "bc"] { Array(piece.utf8).withUnsafeBytes { hasher.update($0) } }
        let inPieces = hasher.finish()
        #expect(try inPieces == hash(Array("abc".utf8)))
    }

    @Test func findsWhatAnotherHasKept() throws {
        let image = image(1)
        #expect(try !found(image, in: cache()))
        keep(image, in: try cache())
        #expect(try found(image, in: cache()))
        // Another length is another image.
        #expect(try cache().image(hash(image), byteCount: image.count - 1) == nil)
    }

    @Test func isPrivate() throws {
        keep(image(1), in: try cache())
        var status = stat()
        #expect(stat(place.path, &status) == 0 && status.st_mode & 0o777 == 0o700)
        #expect(stat(place.path + "/" + place.images[0], &status) == 0 && status.st_mode & 0o777 == 0o600)
    }

    @Test func refusesAFolderThatOthersMayEnter() throws {
        #expect(chmod(place.path, 0o750) == 0)
        #expect(throws: CacheFailure.self) { try cache() }
    }

    @Test func refusesALinkToAFolder() throws {
        let link = place.path + "-link"
        #expect(symlink(place.path, link) == 0)
        defer { unlink(link) }
        #expect(throws: CacheFailure.self) { try ModuleCache(path: link, bytesMax: 1) { _ in } }
    }

    @Test func staysBelowItsBoundAndRemovesWhatWasNotUsedForLongest() throws {
        let cache = try cache(bytesMax: 3500)
        let images = (0..<3).map { image($0) }
        for (number, image) in images.enumerated() {
            keep(image, in: cache)
            try age(image, seconds: 100 - number)
        }
        // The first is used again, so that the second is the oldest.
        #expect(try found(images[0], in: cache))
        keep(image(3), in: cache)
        #expect(try found(images[0], in: cache))
        #expect(try !found(images[1], in: cache))
        #expect(try found(images[2], in: cache))
        #expect(try found(image(3), in: cache))
        keep(image(4, bytes: 3501), in: cache)
        #expect(place.images.count == 3)
        keep(image(5, bytes: 3500), in: cache)
        #expect(place.images.count == 1)
    }

    @Test(arguments: [0, 999, 1000])
    func discardsWhatIsNotWhatItsNameSays(bytes: Int) throws {
        let cache = try cache()
        let image = image(1)
        keep(image, in: cache)
        let path = place.path + "/" + place.images[0]
        let file = open(path, O_WRONLY)
        #expect(bytes < 1000 ? ftruncate(file, off_t(bytes)) == 0 : pwrite(file, "x", 1, 500) == 1)
        close(file)
        #expect(try !found(image, in: cache))
        #expect(place.images.isEmpty)
        keep(image, in: cache)
        #expect(try found(image, in: cache))
    }

    @Test func readsNoOtherFiles() throws {
        let cache = try cache()
        let image = image(1)
        let name = try hash(image).hexadecimal
        // A pipe under an image's name: opening it for reading must not wait for a writer.
        #expect(mkfifo(place.path + "/" + name, 0o600) == 0)
        #expect(try !found(image, in: cache))
        unlink(place.path + "/" + name)
        #expect(symlink("/etc/passwd", place.path + "/" + name) == 0)
        #expect(try !found(image, in: cache))
    }

    @Test func removesWhatADeadWorkerHasLeft() throws {
        // No process has this number: the kernel gives at most 4,194,304.
        for name in ["4194305-abc.part", "\(getpid())-abc.part"] {
            close(open(place.path + "/" + name, O_CREAT | O_WRONLY, 0o600))
        }
        keep(image(1), in: try cache())
        #expect(place.images.filter { $0.hasSuffix(".part") } == ["\(getpid())-abc.part"])
    }

    @Test func saysOnceThatItCannotWrite() throws {
        let gone = place.path + "/gone"
        var reports: [String] = []
        let cache = try ModuleCache(path: gone, bytesMax: 1 << 20) { reports.append($0) }
        #expect(rmdir(gone) == 0)
        keep(image(1), in: cache)
        keep(image(2), in: cache)
        #expect(try !found(image(1), in: cache))
        #expect(reports.count == 1)
        #expect(reports.first?.contains("No such file") == true)
        #expect(throws: CacheFailure.self) { try cache.checkWriting() }
    }

    /// Eight writers of twelve images, where there is room for four.
    @Test func servesManyAtOnce() throws {
        let images = (0..<12).map { image($0, bytes: 5000 + $0) }
        let hashes = try images.map { try hash($0) }
        let path = place.path
        let failures = Mutex<[String]>([])
        let done = Atomic<Int>(0)
        for writer in 0..<8 {
            DriverContract.startThread { [place] in
                _ = place
                do throws(CacheFailure) {
                    let cache = try ModuleCache(path: path, bytesMax: 21_000) { text in
                        failures.withLock { $0.append(text) }
                    }
                    for round in 0..<60 {
                        let number = (writer * 5 + round * 7) % images.count
                        images[number].withUnsafeBytes { cache.keep($0) }
                        let wanted = (number + round) % images.count
                        let found = cache.image(hashes[wanted], byteCount: images[wanted].count)
                        if let found, !found.bytes.elementsEqual(images[wanted]) {
                            failures.withLock { $0.append("image \(wanted) is another one") }
                        }
                        let total = try cache.folder.withLock {
                            cache.folder.files().reduce(0) { $0 + $1.byteCount }
                        }
                        if total > 21_000 { failures.withLock { $0.append("\(total) bytes are kept") } }
                    }
                } catch {
                    failures.withLock { $0.append(error.description) }
                }
                done.add(1, ordering: .releasing)
            }
        }
        while done.load(ordering: .acquiring) < 8 { usleep(1000) }
        #expect(failures.withLock { $0 } == [])
        // At the end of one whom nobody disturbs there is room.
        keep(images[0], in: try cache(bytesMax: 21_000))
        #expect((1...4).contains(place.images.count))
        #expect(!place.images.contains { $0.hasSuffix(".part") })
    }
}

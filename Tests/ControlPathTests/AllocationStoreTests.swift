// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import ManagerClient
import Testing

/// The files of allocations: where they are, whom they are for, and what of them is believed.
@Suite struct AllocationStoreTests {
    /// A home folder, and a folder in the place of /tmp, for one test.
    private final class Folders {
        let root: URL
        let home: String
        let temporary: String

        init() throws {
            root = FileManager.default.temporaryDirectory.appending(path: "bitfusion-\(UUID().uuidString)")
            home = root.appending(path: "home").path()
            temporary = root.appending(path: "tmp").path()
            for path in [home, temporary] {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            }
        }

        deinit { try? FileManager.default.removeItem(at: root) }

        func store(home: Bool = true, runtime: String? = nil) -> AllocationStore {
            AllocationStore(home: home ? self.home : nil, runtimeFolder: runtime, temporaryFolder: temporary)
        }
    }

    private func record(holder: HolderProcess? = nil, id: String = AllocationRecord.newID()) throws -> AllocationRecord
    {
        AllocationRecord(
            id: id, server: "10.0.0.7:56001", dispatcher: "10.0.0.7:55001", ticket: String(repeating: "a1", count: 32),
            idleMinutes: 3, holder: try #require(holder ?? HolderProcess(pid: getpid())))
    }

    /// A holder that has ended.
    private func endedHolder() throws -> HolderProcess {
        var pid = pid_t()
        let argv = [strdup("sleep"), strdup("600"), nil]
        defer { for pointer in argv { free(pointer) } }
        try #require(posix_spawn(&pid, "/bin/sleep", nil, nil, argv, environ) == 0)
        let holder = try #require(HolderProcess(pid: pid))
        #expect(holder.state == .alive)
        kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        #expect(holder.state == .gone)
        return holder
    }

    private func mode(_ path: String) -> mode_t {
        var state = stat()
        return lstat(path, &state) == 0 ? state.st_mode & 0o777 : 0
    }

    /// CLI-30, CFG-16: the file is 0600, its folder 0700.
    @Test func aSavedAllocationIsFoundAndPrivate() throws {
        let folders = try Folders()
        let store = folders.store()
        let saved = try store.save(record())
        #expect(saved.path == "\(folders.home)/.bitfusion/allocations/\(saved.record.id).json")
        #expect(mode(saved.path) == 0o600 && mode("\(folders.home)/.bitfusion/allocations") == 0o700)
        #expect(try store.find(nil) == saved)
        #expect(try store.find(saved.path) == saved)
        #expect(try store.find(saved.record.id) == saved)
    }

    @Test func theNewestIsTheCurrentOne() throws {
        let folders = try Folders()
        defer { withExtendedLifetime(folders) {} }
        let store = folders.store()
        let first = try store.save(record())
        usleep(3_000)
        let second = try store.save(record())
        #expect(try store.find(nil) == second)
        #expect(try store.find(first.record.id) == first)
        store.remove(second)
        #expect(try store.find(nil) == first)
        store.remove(first)
        #expect(throws: AllocationStore.Failure.none("there is no allocation")) { try store.find(nil) }
    }

    /// A file where the folder should be stands for a home that cannot be written: root can write anywhere.
    @Test func withoutAWritableHomeTheTemporaryFolderServes() throws {
        let folders = try Folders()
        try Data().write(to: URL(filePath: folders.home + "/.bitfusion"))
        let saved = try folders.store().save(record())
        #expect(saved.path.hasPrefix("\(folders.temporary)/bitfusion-\(geteuid())/allocations/"))
        #expect(mode("\(folders.temporary)/bitfusion-\(geteuid())") == 0o700)
        #expect(try folders.store().find(nil) == saved)
        let session = folders.root.appending(path: "session").path()
        try FileManager.default.createDirectory(atPath: session, withIntermediateDirectories: true)
        #expect(try folders.store(runtime: session).save(record()).path.hasPrefix("\(session)/bitfusion/allocations/"))
    }

    @Test func aTemporaryFolderThatOthersCanWriteIsNotUsed() throws {
        let folders = try Folders()
        let base = "\(folders.temporary)/bitfusion-\(geteuid())"
        mkdir(base, 0o777)
        chmod(base, 0o777)
        #expect(throws: AllocationStore.Failure.self) { try folders.store(home: false).save(record()) }
        rmdir(base)
        symlink(folders.home, base)
        #expect(throws: AllocationStore.Failure.self) { try folders.store(home: false).save(record()) }
    }

    @Test func aFileThatOthersCanReadIsNotUsed() throws {
        let folders = try Folders()
        defer { withExtendedLifetime(folders) {} }
        let store = folders.store()
        let saved = try store.save(record())
        chmod(saved.path, 0o640)
        let failure = #expect(throws: AllocationStore.Failure.self) { try store.find(saved.path) }
        #expect("\(String(describing: failure))".contains("chmod 600"))
        #expect(throws: AllocationStore.Failure.none("there is no allocation")) { try store.find(nil) }
    }

    @Test func linksPipesAndFoldersAreNotRead() throws {
        let folders = try Folders()
        let saved = try folders.store().save(record())
        let link = folders.home + "/link.json"
        symlink(saved.path, link)
        let pipe = folders.home + "/pipe.json"
        mkfifo(pipe, 0o600)
        for path in [link, pipe, folders.home] {
            #expect(throws: AllocationStore.Failure.self) { try AllocationStore.read(path) }
        }
    }

    @Test(arguments: [
        "", "x", "{}", "[]", "null", String(repeating: "[", count: 60_000), String(repeating: "a", count: 70_000),
        "{\"version\":2}",
    ])
    func whatIsNoDescriptionIsRefusedWithItsPath(text: String) throws {
        let folders = try Folders()
        let path = folders.home + "/file.json"
        try Data(text.utf8).write(to: URL(filePath: path))
        chmod(path, 0o600)
        let failure = #expect(throws: AllocationStore.Failure.self) { try AllocationStore.read(path) }
        guard case .unusable(let reason) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(reason.contains(path))
    }

    @Test func membersOutOfRangeAreRefused() throws {
        let folders = try Folders()
        let saved = try folders.store().save(record())
        let text = try String(contentsOfFile: saved.path, encoding: .utf8)
        for (member, wrong) in [
            (saved.record.ticket, "zz"), ("10.0.0.7:55001", "nowhere:99999"), (saved.record.id, "../../x"),
        ] {
            try text.replacingOccurrences(of: member, with: wrong).write(
                toFile: saved.path, atomically: false, encoding: .utf8)
            #expect(throws: AllocationStore.Failure.self) { try AllocationStore.read(saved.path) }
        }
    }

    @Test(arguments: ["abc", "../0123456", "0123456g"])
    func aNameThatIsNoIDIsRefused(name: String) throws {
        #expect(throws: AllocationStore.Failure.self) { try Folders().store().find(name) }
    }

    @Test func theFileOfAHolderThatIsGoneIsRemoved() throws {
        let folders = try Folders()
        defer { withExtendedLifetime(folders) {} }
        let store = folders.store()
        let saved = try store.save(record(holder: endedHolder()))
        let failure = #expect(throws: AllocationStore.Failure.self) { try store.find(nil) }
        guard case .ended(let reason) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(reason.contains("10.0.0.7:56001") && reason.contains("gone"))
        #expect(access(saved.path, F_OK) != 0)
        #expect(throws: AllocationStore.Failure.none("there is no allocation")) { try store.find(nil) }
    }

    @Test func theReasonOfAnEndIsTold() throws {
        let folders = try Folders()
        defer { withExtendedLifetime(folders) {} }
        let store = folders.store()
        let saved = try store.save(record())
        store.end(saved, because: "idle for 3 min")
        #expect(try AllocationStore.read(saved.path).ticket.isEmpty)
        let failure = #expect(throws: AllocationStore.Failure.self) { try store.find(saved.record.id) }
        #expect("\(String(describing: failure))".contains("idle for 3 min"))
        #expect(access(saved.path, F_OK) != 0)
        // What is removed stays removed.
        store.end(saved, because: "again")
        #expect(access(saved.path, F_OK) != 0)
    }
}

// SPDX-License-Identifier: Apache-2.0
import CNVML
import HostManagement
import Management
import Testing
import Wire

@testable import AllocationLedger

/// Processes of the server are shown as those of the client, and only those of the allocation.
@Suite struct ProcessUtilizationTests {
    /// A server with samples of these processes, as its library gives them.
    private final class Server: ManagementSource {
        var samples: [(pid: UInt32, busy: UInt32)]
        var status = NVMLCode.success

        init(_ samples: [(pid: UInt32, busy: UInt32)]) { self.samples = samples }

        func answer(_ question: ManagementQuestion) -> ManagementAnswer {
            guard status == NVMLCode.success else { return ManagementAnswer(status) }
            var writer = PayloadWriter()
            writer.write(UInt32(samples.count))
            for sample in samples {
                var element = nvmlProcessUtilizationSample_t()
                element.pid = sample.pid
                element.smUtil = sample.busy
                withUnsafeBytes(of: element) { bytes in bytes.forEach { writer.write($0) } }
            }
            return ManagementAnswer(NVMLCode.success, bytes: writer.bytes)
        }
    }

    private func ledger() throws -> AllocationLedger {
        let ledger = try AllocationLedger(deviceCount: 2, limitBytes: nil)
        for number in 0..<2 {
            ledger.open(slot: number)
            let slot = try LedgerSlot(ledger, number: number)
            slot.setClient(processID: UInt32(11 + number), name: "program", workerID: UInt32(501 + number))
            slot.setContexts(1, device: number)
        }
        return ledger
    }

    private func ask(_ server: Server, device: UInt32, room: UInt32) throws -> ManagementAnswer {
        var writer = PayloadWriter()
        writer.write(device)
        writer.write(room)
        writer.write(UInt64(0))
        let source = PartitionedManagement(server, ledger: try ledger())
        return source.answer(ManagementQuestion(.nvmlDeviceGetProcessUtilization, bytes: writer.bytes))
    }

    @Test func ownWorkersHaveTheClientsNumbers() throws {
        let answer = try ask(Server([(500, 9), (501, 60), (502, 3), (11, 1)]), device: 0, room: 100)
        #expect(answer.status == NVMLCode.success)
        var reader = ValueReader(answer.bytes)
        #expect(try reader.value(UInt32.self) == 1, "others, and workers that do not use this GPU, are not shown")
        let sample = try Array(reader.bytes(32)).withUnsafeBytes {
            $0.loadUnaligned(as: nvmlProcessUtilizationSample_t.self)
        }
        #expect(sample.pid == 11 && sample.smUtil == 60)
        try reader.finish()
    }

    @Test func withoutRoomThereIsTheNumberOfSamples() throws {
        let answer = try ask(Server([(501, 60), (501, 61), (7, 1)]), device: 0, room: 1)
        #expect(answer.status == NVMLCode.insufficientSize && answer.bytes == [2, 0, 0, 0])
    }

    @Test func othersAloneAreNobody() throws {
        #expect(try ask(Server([(500, 9)]), device: 0, room: 100).status == NVMLCode.notFound)
        #expect(try ask(Server([]), device: 1, room: 0).status == NVMLCode.notFound)
    }

    @Test func whatTheServerCannotSayIsSaid() throws {
        let server = Server([])
        server.status = NVMLCode.notSupported
        #expect(try ask(server, device: 0, room: 1).status == NVMLCode.notSupported)
        #expect(try ask(Server([(501, 1)]), device: 2, room: 1).status == NVMLCode.invalidArgument)
    }
}

// SPDX-License-Identifier: Apache-2.0
import ManagerClient
import Pool
import Testing

/// What the listing commands print, letter by letter.
@Suite struct SMITests {
    private static func tesla() -> GPUStatus {
        var gpu = GPUStatus(
            GPU(index: 0, name: "Tesla T4", uuid: "GPU-0", totalMiB: 15109, pciBusID: "00000000:13:00.0"),
            allocatedMiB: 0)
        gpu.usedMiB = 11
        gpu.isPersistent = false
        gpu.fanPercent = 0
        gpu.temperatureCelsius = 36
        gpu.performanceState = 8
        gpu.powerMilliwatts = 9_800
        gpu.powerLimitMilliwatts = 70_000
        gpu.utilizationPercent = 0
        gpu.uncorrectedErrors = 0
        gpu.computeMode = "Default"
        return gpu
    }

    private static func status(_ gpus: [GPUStatus], driver: String? = "440.64.00") -> ServerStatus {
        ServerStatus(
            hostname: "gpu-1", version: "1", driver: driver, isDraining: false, gpus: gpus, tasks: [], networks: [])
    }

    /// CLI-50, CLI-51, CLI-79: the guide's own output, with a server that does not answer.
    @Test func printsTheGuidesExample() {
        let text =
            SMIBox(address: "172.16.31.243:56001", status: SMITests.status([SMITests.tesla()])).text
            + SMIBox(address: "172.16.31.241:56001", status: nil).text
        #expect(
            text == """
                +----------------------------------------------------------------------------------------+
                | 172.16.31.243:56001                                          Driver Version: 440.64.00 |
                +--------------------------------------+-------------------------+-----------------------+
                | GPU  Name              Persistence-M | Virt Mem    Alloc / All | BusId  Vol Uncorr ECC |
                | Fan  Temp  Perf        Pwr:Usage/Cap | Phy Mem     Used  / All | GPU-Util   Compute M. |
                |======================================+=========================+=======================|
                | 0    Tesla T4               Disabled | 0       MB / 15109   MB | 00000000:13:00.0    0 |
                | 0 %   36C  P8             10W /  70W | 11      MB / 15109   MB |   0%          Default |
                +--------------------------------------+-------------------------+-----------------------+
                +----------------------------------------------------------------------------------------+
                | 172.16.31.241:56001                                                                    |
                +----------------------------------------------------------------------------------------+

                """)
    }

    /// CLI-51: whatever a GPU says or does not say, the box keeps its shape.
    @Test func everyLineHasTheSameWidth() {
        var large = SMITests.tesla()
        large.index = 1023
        large.name = "A GPU whose name is longer than any column is wide"
        large.totalMiB = 196_608
        large.allocatedMiB = 196_608
        large.fanPercent = 100
        large.temperatureCelsius = 105
        large.performanceState = 12
        large.powerMilliwatts = 1_000_000
        large.powerLimitMilliwatts = 1_200_000
        large.utilizationPercent = 100
        large.uncorrectedErrors = 99_999
        large.computeMode = "Exclusive_Process"
        large.isPersistent = true
        let unknown = GPUStatus(
            GPU(index: 1, name: "soft", uuid: "", totalMiB: 64, pciBusID: "00000000:01:00.0"), allocatedMiB: 64)
        let box = SMIBox(
            address: "[2001:db8:0:0:0:0:0:1234]:56001",
            status: SMITests.status([large, unknown], driver: "535.309.01"))
        for line in box.text.split(separator: "\n") { #expect(line.count == 90, "\(line)") }
        #expect(box.text.contains("N/A"))
        let long = SMIBox(address: String(repeating: "a", count: 200), status: SMITests.status([large]))
        for line in long.text.split(separator: "\n") { #expect(line.count == 90, "\(line)") }
    }

    /// CLI-78: GPUs, tasks with their client and time, network counters.
    @Test func theReportOfAServerIsATable() {
        var status = SMITests.status([SMITests.tesla()])
        status.isDraining = true
        status.gpus[0].allocatedMiB = 5461
        status.tasks = [
            TaskStatus(
                allocation: 7, client: "ada python", address: "10.0.0.9", gpus: [0], mebibytes: 5461,
                runningSeconds: 3_700),
            TaskStatus(
                allocation: 12, client: "bob train", address: "10.0.0.10", gpus: [0, 1], mebibytes: nil,
                runningSeconds: 4),
        ]
        var network = Network(name: "net1", interface: "eth0", address: "10.0.0.7", prefixLength: 24)
        network.receivedBytes = 1_234_567_890
        network.sentBytes = 999
        status.networks = [network]
        #expect(
            ServerReport(address: "10.0.0.7:56001", status: status).text == """
                server 10.0.0.7:56001: gpu-1, version 1, driver 440.64.00, draining: it accepts no new requests
                  GPU  NAME      UTIL  USED MiB  ALLOCATED MiB  TOTAL MiB  TEMP  POWER
                    0  Tesla T4    0%        11           5461      15109   36C    10W

                  TASK  CLIENT      FROM       GPUS  MiB EACH     TIME
                     7  ada python  10.0.0.9   0         5461  1h1m40s
                    12  bob train   10.0.0.10  0,1        all       4s

                  NETWORK  INTERFACE  ADDRESS   RECEIVED   SENT
                  net1     eth0       10.0.0.7    1.2 GB  999 B

                """)
    }

    @Test(arguments: [
        (UInt64(0), "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_550_000, "1.6 MB"), (UInt64.max, "18.4 EB"),
    ])
    func writesBytesWithTheirUnit(count: UInt64, text: String) {
        #expect(ServerReport.bytes(count) == text)
    }
}

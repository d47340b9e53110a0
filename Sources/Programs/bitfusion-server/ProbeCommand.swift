// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CCUDA
import Driver
import FoundationEssentials
import Glibc
import HostDriver
import Pool

/// Prints what a driver has, as JSON; what is wrong with it, in words and with exit status 1.
struct ProbeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe", abstract: "Print the GPUs of a CUDA driver as JSON.")

    @Option(help: "The libcuda.so.1 to ask.")
    var driver = "libcuda.so.1"

    func run() throws {
        let description: DriverDescription
        do {
            description = try HostDriver(path: driver).describe()
        } catch let error as DriverLoadFailure {
            print(error.message)
            throw ExitCode(1)
        }
        let gpus = description.devices.enumerated().map { index, device in
            GPU(
                index: index, name: device.name, uuid: device.uuidText, totalMiB: device.totalBytes >> 20,
                pciBusID: text(pci: device))
        }
        guard !gpus.isEmpty else {
            print("the driver \(driver) has no GPU")
            throw ExitCode(1)
        }
        let inventory = Inventory(driverVersion: Int(description.version), gpus: gpus)
        print(String(decoding: try JSONEncoder().encode(inventory), as: UTF8.self))
    }

    private func text(pci device: DeviceDescription) -> String {
        let domain = Int(device[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID])
        let bus = Int(device[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID])
        let slot = Int(device[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID])
        return "\(hexadecimal(domain, 8)):\(hexadecimal(bus, 2)):\(hexadecimal(slot, 2)).0"
    }

    private func hexadecimal(_ value: Int, _ digits: Int) -> String {
        let text = String(value, radix: 16, uppercase: false)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}

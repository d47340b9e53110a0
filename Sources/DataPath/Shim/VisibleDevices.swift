// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// In which order devices are numbered: CUDA_DEVICE_ORDER.
enum DeviceOrder: Sendable {
    /// The default: most work per time first, by a guess; equal ones in the order of the bus.
    case fastestFirst
    case bus

    init(_ variable: String?) { self = variable == "PCI_BUS_ID" ? .bus : .fastestFirst }

    /// The driver's numbers of the devices, in this order.
    func ordinals(_ descriptions: [DeviceDescription]) -> [Int] {
        let onBus = descriptions.indices.sorted { position(descriptions[$0]) < position(descriptions[$1]) }
        guard case .fastestFirst = self else { return onBus }
        // Devices of the same speed keep their order.
        return onBus.enumerated().sorted { first, second in
            let speeds = (speed(descriptions[first.element]), speed(descriptions[second.element]))
            return speeds.0 == speeds.1 ? first.offset < second.offset : speeds.0 > speeds.1
        }.map(\.element)
    }

    private func position(_ device: DeviceDescription) -> (Int32, Int32, Int32) {
        (
            device[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID], device[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID],
            device[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID]
        )
    }

    /// Multiprocessors times their clock, which is all that devices of any age tell.
    private func speed(_ device: DeviceDescription) -> Int {
        Int(device[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT]) * Int(max(1, device[CU_DEVICE_ATTRIBUTE_CLOCK_RATE]))
    }
}

/// Chooses devices as CUDA_VISIBLE_DEVICES says: numbers or beginnings of UUIDs, in their order; the first entry that
/// names none ends the list.
///
/// The numbers are those of the order. A device named twice makes the whole list void.
func visibleDevices(
    _ descriptions: [DeviceDescription], _ variable: String?, order: DeviceOrder = .fastestFirst
) -> [Device] {
    let all = order.ordinals(descriptions).enumerated().map { position, number in
        Device(ordinal: Int32(position), driverOrdinal: Int32(number), description: descriptions[number])
    }
    guard let variable else { return all }
    var chosen: [Device] = []
    for entry in variable.split(separator: ",", omittingEmptySubsequences: false) {
        let name = entry.drop { $0 == " " }.split(separator: " ").first.map(String.init) ?? ""
        let matches = all.filter { device in
            Int32(name) == device.ordinal || name.isUUID && device.uuidText.hasPrefix(name.lowercasedUUID)
        }
        guard matches.count == 1 else { break }
        if chosen.contains(where: { $0.driverOrdinal == matches[0].driverOrdinal }) { return [] }
        chosen.append(
            Device(
                ordinal: Int32(chosen.count), driverOrdinal: matches[0].driverOrdinal,
                description: matches[0].description))
    }
    return chosen
}

extension String {
    fileprivate var isUUID: Bool { hasPrefix("GPU-") || hasPrefix("MIG-") }
    fileprivate var lowercasedUUID: String { prefix(4) + dropFirst(4).lowercased() }
}

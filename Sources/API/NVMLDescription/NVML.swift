// SPDX-License-Identifier: Apache-2.0

/// A group of functions that one file of the description holds.
package struct ManagementFamily: Sendable {
    package let title: String
    package let functions: [ManagementFunction]
}

/// Every function that a libnvidia-ml.so.1 of driver 535 exports, and the newer ones that public bindings look up.
package let managementFamilies: [ManagementFamily] = [
    ManagementFamily(title: "Library and system", functions: libraryFunctions),
    ManagementFamily(title: "Finding devices", functions: findingFunctions),
    ManagementFamily(title: "Identity", functions: identityFunctions),
    ManagementFamily(title: "Memory and processes", functions: memoryFunctions),
    ManagementFamily(title: "State", functions: stateFunctions),
    ManagementFamily(title: "Power and clocks", functions: powerFunctions),
    ManagementFamily(title: "Errors", functions: errorFunctions),
    ManagementFamily(title: "Links", functions: linkFunctions),
    ManagementFamily(title: "Events and samples", functions: eventFunctions),
    ManagementFamily(title: "Changes", functions: changeFunctions),
    ManagementFamily(title: "Instances", functions: instanceFunctions),
    ManagementFamily(title: "Virtual GPUs", functions: virtualFunctions),
]

/// Every function, in the order of the families.
package let managementFunctions: [ManagementFunction] = managementFamilies.flatMap(\.functions)

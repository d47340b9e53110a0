// SPDX-License-Identifier: Apache-2.0

/// A group of functions that one file of the description holds.
package struct Family: Sendable {
    package let title: String
    package let functions: [Function]
}

/// Every function that a libcuda.so.1 of CUDA 13.5 exports, in families.
package let cudaFamilies: [Family] = [
    Family(title: "Initialization and errors", functions: initializationFunctions),
    Family(title: "Devices", functions: devicesFunctions),
    Family(title: "Primary contexts", functions: primaryContextsFunctions),
    Family(title: "Contexts", functions: contextsFunctions),
    Family(title: "Modules and the linker", functions: modulesFunctions),
    Family(title: "Libraries and kernels", functions: librariesFunctions),
    Family(title: "Functions and occupancy", functions: functionsFunctions),
    Family(title: "Launch", functions: launchFunctions),
    Family(title: "Memory", functions: memoryFunctions),
    Family(title: "Copies and sets", functions: copiesFunctions),
    Family(title: "Stream-ordered allocation and pools", functions: poolsFunctions),
    Family(title: "Pointer attributes", functions: pointersFunctions),
    Family(title: "Streams", functions: streamsFunctions),
    Family(title: "Events", functions: eventsFunctions),
    Family(title: "Managed memory", functions: managedMemoryFunctions),
    Family(title: "Virtual memory management", functions: virtualMemoryFunctions),
    Family(title: "Graphs", functions: graphsFunctions),
    Family(title: "Textures, surfaces and arrays", functions: texturesAndSurfacesFunctions),
    Family(title: "Sharing between processes", functions: interprocessFunctions),
    Family(title: "External memory and semaphores", functions: externalResourcesFunctions),
    Family(title: "Graphics", functions: graphicsFunctions),
    Family(title: "Tools", functions: toolsFunctions),
]

/// Every function, in the order of the families.
package let cudaFunctions: [Function] = cudaFamilies.flatMap(\.functions)

// SPDX-License-Identifier: Apache-2.0

let initializationFunctions: [Function] = [
    Function("cuDriverGetVersion", 2020, "int *driverVersion", needsInit: false),
    Function(
        "cuFlushGPUDirectRDMAWrites", 11030,
        "CUflushGPUDirectRDMAWritesTarget target, CUflushGPUDirectRDMAWritesScope scope"),
    Function("cuGetErrorName", 6000, "CUresult error, const char **pStr", needsInit: false),
    Function("cuGetErrorString", 6000, "CUresult error, const char **pStr", needsInit: false),
    Function("cuGetExportTable", 3000, "const void **ppExportTable, const CUuuid *pExportTableId", needsInit: false),
    Function(
        "cuGetProcAddress", 11030,
        "const char *symbol, void **pfn, int cudaVersion, cuuint64_t flags", needsInit: false),
    Function(
        "cuGetProcAddress_v2", 12000,
        "const char *symbol, void **pfn, int cudaVersion, cuuint64_t flags, CUdriverProcAddressQueryResult *symbolStatus",
        needsInit: false),
    Function("cuInit", 2000, "unsigned int Flags", needsInit: false),
]

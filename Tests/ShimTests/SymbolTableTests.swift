// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Shim

/// The rules by which names become exported symbols, on cases that runtimes ask for.
@Suite struct SymbolTableTests {
    let table = SymbolTable(lookupTable)

    @Test(arguments: [
        // Name, version, flag for the thread's own default stream, symbol.
        ("cuInit", 2000, false, "cuInit"),
        ("cuGetProcAddress", 11030, false, "cuGetProcAddress"),
        ("cuGetProcAddress", 12000, false, "cuGetProcAddress_v2"),
        ("cuMemAlloc", 3020, false, "cuMemAlloc_v2"),
        ("cuMemAlloc", 13050, true, "cuMemAlloc_v2"),
        ("cuDevicePrimaryCtxRelease", 7000, false, "cuDevicePrimaryCtxRelease"),
        ("cuDevicePrimaryCtxReset", 7000, false, "cuDevicePrimaryCtxReset"),
        ("cuDevicePrimaryCtxSetFlags", 11000, false, "cuDevicePrimaryCtxSetFlags_v2"),
        ("cuCtxSynchronize", 2000, false, "cuCtxSynchronize"),
        ("cuCtxSynchronize", 13000, false, "cuCtxSynchronize_v2"),
        ("cuDeviceGetUuid", 9020, false, "cuDeviceGetUuid"),
        ("cuDeviceGetUuid", 11040, false, "cuDeviceGetUuid_v2"),
        ("cuLaunchKernel", 7000, true, "cuLaunchKernel_ptsz"),
        ("cuLaunchKernel", 4000, true, "cuLaunchKernel"),
        ("cuMemcpyHtoD", 7000, true, "cuMemcpyHtoD_v2_ptds"),
        ("cuMemcpyHtoD", 3020, false, "cuMemcpyHtoD_v2"),
        ("cuMemcpyHtoDAsync", 7000, true, "cuMemcpyHtoDAsync_v2_ptsz"),
        ("cuStreamGetCaptureInfo", 10010, false, "cuStreamGetCaptureInfo"),
        ("cuStreamGetCaptureInfo", 11030, true, "cuStreamGetCaptureInfo_v2_ptsz"),
        ("cuStreamGetCaptureInfo", 12030, false, "cuStreamGetCaptureInfo_v3"),
        ("cuEventElapsedTime", 12080, false, "cuEventElapsedTime_v2"),
        ("cuGraphInstantiateWithParams_ptsz", 12000, true, "cuGraphInstantiateWithParams_ptsz"),
    ])
    func resolves(name: String, version: Int, isPerThread: Bool, symbol: String) {
        #expect(table.find(name, version: Int32(version), isPerThread: isPerThread) == .found(symbol: symbol))
    }

    @Test(arguments: ["", "cuNothing", "cuSubgridCreate", "init", "cuInit "])
    func doesNotKnow(name: String) {
        #expect(table.find(name, version: 99_999, isPerThread: false) == .unknown)
    }

    @Test func saysThatANameIsNewer() {
        #expect(table.find("cuLibraryLoadData", version: 11080, isPerThread: false) == .newer)
        #expect(
            table.find("cuLibraryLoadData", version: 12000, isPerThread: false) == .found(symbol: "cuLibraryLoadData"))
    }
}

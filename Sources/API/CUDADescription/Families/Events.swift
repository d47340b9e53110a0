// SPDX-License-Identifier: Apache-2.0

let eventsFunctions: [Function] = [
    Function("cuEventCreate", 2000, "CUevent *phEvent, unsigned int Flags"),
    Function("cuEventDestroy", 2000, sameAs: "cuEventDestroy_v2"),
    Function("cuEventDestroy_v2", 4000, "CUevent hEvent"),
    Function("cuEventElapsedTime", 2000, "float *pMilliseconds, CUevent hStart, CUevent hEnd"),
    Function("cuEventElapsedTime_v2", 12080, "float *pMilliseconds, CUevent hStart, CUevent hEnd"),
    Function("cuEventQuery", 2000, "CUevent hEvent"),
    Function("cuEventRecord", 2000, "CUevent hEvent, CUstream hStream", perThread: .ptsz(7000)),
    Function(
        "cuEventRecordWithFlags", 11010,
        "CUevent hEvent, CUstream hStream, unsigned int flags", perThread: .ptsz(11010)),
    Function("cuEventSynchronize", 2000, "CUevent hEvent"),
]

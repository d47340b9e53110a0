// SPDX-License-Identifier: Apache-2.0

let interprocessFunctions: [Function] = [
    Function("cuIpcCloseMemHandle", 4010, "CUdeviceptr dptr"),
    Function("cuIpcGetEventHandle", 4010, "CUipcEventHandle *pHandle, CUevent event"),
    Function("cuIpcGetMemHandle", 4010, "CUipcMemHandle *pHandle, CUdeviceptr dptr"),
    Function("cuIpcOpenEventHandle", 4010, "CUevent *phEvent, CUipcEventHandle handle"),
    Function("cuIpcOpenMemHandle", 4010, "CUdeviceptr *pdptr, CUipcMemHandle handle, unsigned int Flags"),
    Function("cuIpcOpenMemHandle_v2", 11000, "CUdeviceptr *pdptr, CUipcMemHandle handle, unsigned int Flags"),
]

// SPDX-License-Identifier: Apache-2.0

let interprocessFunctions: [Function] = [
    Function("cuIpcCloseMemHandle", 4010, absent: .later),
    Function("cuIpcGetEventHandle", 4010, absent: .later),
    Function("cuIpcGetMemHandle", 4010, absent: .later),
    Function("cuIpcOpenEventHandle", 4010, absent: .later),
    Function("cuIpcOpenMemHandle", 4010, absent: .later),
    Function("cuIpcOpenMemHandle_v2", 11000, absent: .later),
]

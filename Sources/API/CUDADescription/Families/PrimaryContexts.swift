// SPDX-License-Identifier: Apache-2.0

let primaryContextsFunctions: [Function] = [
    Function("cuDevicePrimaryCtxGetState", 7000, "CUdevice dev, unsigned int *flags, int *active"),
    Function("cuDevicePrimaryCtxRelease", 7000, sameAs: "cuDevicePrimaryCtxRelease_v2"),
    Function("cuDevicePrimaryCtxRelease_v2", 11000, "CUdevice dev"),
    Function("cuDevicePrimaryCtxReset", 7000, sameAs: "cuDevicePrimaryCtxReset_v2"),
    Function("cuDevicePrimaryCtxReset_v2", 11000, "CUdevice dev"),
    Function("cuDevicePrimaryCtxRetain", 7000, "CUcontext *pctx, CUdevice dev"),
    Function("cuDevicePrimaryCtxSetFlags", 7000, sameAs: "cuDevicePrimaryCtxSetFlags_v2"),
    Function("cuDevicePrimaryCtxSetFlags_v2", 11000, "CUdevice dev, unsigned int flags"),
]

// SPDX-License-Identifier: Apache-2.0

let launchFunctions: [Function] = [
    Function("cuLaunch", 2000, "CUfunction f"),
    Function(
        "cuLaunchCooperativeKernel", 9000,
        "CUfunction f, unsigned int gridDimX, unsigned int gridDimY, unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY, unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream, void **kernelParams",
        perThread: .ptsz(9000)),
    Function(
        "cuLaunchCooperativeKernelMultiDevice", 9000,
        "CUDA_LAUNCH_PARAMS *launchParamsList, unsigned int numDevices, unsigned int flags"),
    Function("cuLaunchGrid", 2000, "CUfunction f, int grid_width, int grid_height"),
    Function("cuLaunchGridAsync", 2000, "CUfunction f, int grid_width, int grid_height, CUstream hStream"),
    Function("cuLaunchHostFunc", 10000, "CUstream hStream, CUhostFn fn, void *userData", perThread: .ptsz(10000)),
    Function(
        "cuLaunchHostFunc_v2", 13010,
        "CUstream hStream, CUhostFn fn, void *userData, unsigned int syncMode", perThread: .ptsz(13010)),
    Function(
        "cuLaunchKernel", 4000,
        "CUfunction f, unsigned int gridDimX, unsigned int gridDimY, unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY, unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream, void **kernelParams, void **extra",
        perThread: .ptsz(7000)),
    Function(
        "cuLaunchKernelEx", 11060,
        "const CUlaunchConfig *config, CUfunction f, void **kernelParams, void **extra", perThread: .ptsz(11060)),
    Function("cuParamSetSize", 2000, "CUfunction hfunc, unsigned int numbytes"),
    Function("cuParamSetTexRef", 2000, "CUfunction hfunc, int texunit, CUtexref hTexRef"),
    Function("cuParamSetf", 2000, "CUfunction hfunc, int offset, float value"),
    Function("cuParamSeti", 2000, "CUfunction hfunc, int offset, unsigned int value"),
    Function("cuParamSetv", 2000, "CUfunction hfunc, int offset, void *ptr, unsigned int numbytes"),
]

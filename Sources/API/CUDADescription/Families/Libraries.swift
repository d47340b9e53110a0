// SPDX-License-Identifier: Apache-2.0

let librariesFunctions: [Function] = [
    Function("cuKernelGetAttribute", 12000, "int *pi, CUfunction_attribute attrib, CUkernel kernel, CUdevice dev"),
    Function("cuKernelGetFunction", 12000, "CUfunction *pFunc, CUkernel kernel"),
    Function("cuKernelGetLibrary", 12050, "CUlibrary *pLib, CUkernel kernel"),
    Function("cuKernelGetName", 12030, "const char **name, CUkernel hfunc"),
    Function("cuKernelGetParamCount", 13020, "CUkernel kernel, size_t *paramCount"),
    Function(
        "cuKernelGetParamInfo", 12040,
        "CUkernel kernel, size_t paramIndex, size_t *paramOffset, size_t *paramSize"),
    Function("cuKernelSetAttribute", 12000, "CUfunction_attribute attrib, int val, CUkernel kernel, CUdevice dev"),
    Function("cuKernelSetCacheConfig", 12000, "CUkernel kernel, CUfunc_cache config, CUdevice dev"),
    Function("cuLibraryEnumerateKernels", 12040, "CUkernel *kernels, unsigned int numKernels, CUlibrary lib"),
    Function("cuLibraryGetGlobal", 12000, "CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name"),
    Function("cuLibraryGetKernel", 12000, "CUkernel *pKernel, CUlibrary library, const char *name"),
    Function("cuLibraryGetKernelCount", 12040, "unsigned int *count, CUlibrary lib"),
    Function("cuLibraryGetManaged", 12000, "CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name"),
    Function("cuLibraryGetModule", 12000, "CUmodule *pMod, CUlibrary library"),
    Function("cuLibraryGetUnifiedFunction", 12000, "void **fptr, CUlibrary library, const char *symbol"),
    Function(
        "cuLibraryLoadData", 12000,
        "CUlibrary *library, const void *code, CUjit_option *jitOptions, void **jitOptionsValues, unsigned int numJitOptions, CUlibraryOption *libraryOptions, void **libraryOptionValues, unsigned int numLibraryOptions"
    ),
    Function(
        "cuLibraryLoadFromFile", 12000,
        "CUlibrary *library, const char *fileName, CUjit_option *jitOptions, void **jitOptionsValues, unsigned int numJitOptions, CUlibraryOption *libraryOptions, void **libraryOptionValues, unsigned int numLibraryOptions"
    ),
    Function("cuLibraryUnload", 12000, "CUlibrary library"),
]

// SPDX-License-Identifier: Apache-2.0

let modulesFunctions: [Function] = [
    Function("cuLinkAddData", 5050, sameAs: "cuLinkAddData_v2"),
    Function(
        "cuLinkAddData_v2", 6050,
        "CUlinkState state, CUjitInputType type, void *data, size_t size, const char *name, unsigned int numOptions, CUjit_option *options, void **optionValues"
    ),
    Function("cuLinkAddFile", 5050, sameAs: "cuLinkAddFile_v2"),
    Function(
        "cuLinkAddFile_v2", 6050,
        "CUlinkState state, CUjitInputType type, const char *path, unsigned int numOptions, CUjit_option *options, void **optionValues"
    ),
    Function("cuLinkComplete", 5050, "CUlinkState state, void **cubinOut, size_t *sizeOut"),
    Function("cuLinkCreate", 5050, sameAs: "cuLinkCreate_v2"),
    Function(
        "cuLinkCreate_v2", 6050,
        "unsigned int numOptions, CUjit_option *options, void **optionValues, CUlinkState *stateOut"),
    Function("cuLinkDestroy", 5050, "CUlinkState state"),
    Function("cuModuleEnumerateFunctions", 12040, "CUfunction *functions, unsigned int numFunctions, CUmodule mod"),
    Function("cuModuleGetFunction", 2000, "CUfunction *hfunc, CUmodule hmod, const char *name"),
    Function("cuModuleGetFunctionCount", 12040, "unsigned int *count, CUmodule mod"),
    Function("cuModuleGetGlobal", 2000, absent: .thirtyTwoBit),
    Function("cuModuleGetGlobal_v2", 3020, "CUdeviceptr *dptr, size_t *bytes, CUmodule hmod, const char *name"),
    Function("cuModuleGetLoadingMode", 11070, "CUmoduleLoadingMode *mode", needsInit: false),
    Function("cuModuleGetSurfRef", 3000, "CUsurfref *pSurfRef, CUmodule hmod, const char *name"),
    Function("cuModuleGetTexRef", 2000, "CUtexref *pTexRef, CUmodule hmod, const char *name"),
    Function("cuModuleLoad", 2000, "CUmodule *module, const char *fname"),
    Function("cuModuleLoadData", 2000, "CUmodule *module, const void *image"),
    Function(
        "cuModuleLoadDataEx", 2010,
        "CUmodule *module, const void *image, unsigned int numOptions, CUjit_option *options, void **optionValues"),
    Function("cuModuleLoadFatBinary", 2000, "CUmodule *module, const void *fatCubin"),
    Function("cuModuleUnload", 2000, "CUmodule hmod"),
]

// SPDX-License-Identifier: Apache-2.0

let functionsFunctions: [Function] = [
    Function("cuFuncGetAttribute", 2020, "int *pi, CUfunction_attribute attrib, CUfunction hfunc"),
    Function("cuFuncGetModule", 11000, "CUmodule *hmod, CUfunction hfunc"),
    Function("cuFuncGetName", 12030, "const char **name, CUfunction hfunc"),
    Function("cuFuncGetParamCount", 13020, "CUfunction func, size_t *paramCount"),
    Function(
        "cuFuncGetParamInfo", 12040,
        "CUfunction func, size_t paramIndex, size_t *paramOffset, size_t *paramSize"),
    Function("cuFuncIsLoaded", 12040, "CUfunctionLoadingState *state, CUfunction function"),
    Function("cuFuncLoad", 12040, "CUfunction function"),
    Function("cuFuncSetAttribute", 9000, "CUfunction hfunc, CUfunction_attribute attrib, int value"),
    Function("cuFuncSetBlockShape", 2000, "CUfunction hfunc, int x, int y, int z"),
    Function("cuFuncSetCacheConfig", 3000, "CUfunction hfunc, CUfunc_cache config"),
    Function("cuFuncSetSharedMemConfig", 4020, "CUfunction hfunc, CUsharedconfig config"),
    Function("cuFuncSetSharedSize", 2000, "CUfunction hfunc, unsigned int bytes"),
    Function(
        "cuOccupancyAvailableDynamicSMemPerBlock", 10020,
        "size_t *dynamicSmemSize, CUfunction func, int numBlocks, int blockSize"),
    Function(
        "cuOccupancyMaxActiveBlocksPerMultiprocessor", 6050,
        "int *numBlocks, CUfunction func, int blockSize, size_t dynamicSMemSize"),
    Function(
        "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", 7000,
        "int *numBlocks, CUfunction func, int blockSize, size_t dynamicSMemSize, unsigned int flags"),
    Function(
        "cuOccupancyMaxActiveClusters", 11070, "int *numClusters, CUfunction func, const CUlaunchConfig *config"),
    Function(
        "cuOccupancyMaxPotentialBlockSize", 6050,
        "int *minGridSize, int *blockSize, CUfunction func, CUoccupancyB2DSize blockSizeToDynamicSMemSize, size_t dynamicSMemSize, int blockSizeLimit"
    ),
    Function(
        "cuOccupancyMaxPotentialBlockSizeWithFlags", 7000,
        "int *minGridSize, int *blockSize, CUfunction func, CUoccupancyB2DSize blockSizeToDynamicSMemSize, size_t dynamicSMemSize, int blockSizeLimit, unsigned int flags"
    ),
    Function(
        "cuOccupancyMaxPotentialClusterSize", 11070,
        "int *clusterSize, CUfunction func, const CUlaunchConfig *config"),
]

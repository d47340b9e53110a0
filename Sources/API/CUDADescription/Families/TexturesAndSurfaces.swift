// SPDX-License-Identifier: Apache-2.0

let texturesAndSurfacesFunctions: [Function] = [
    Function("cuArray3DCreate", 2000, absent: .thirtyTwoBit),
    Function("cuArray3DCreate_v2", 3020, "CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR *pAllocateArray"),
    Function("cuArray3DGetDescriptor", 2000, absent: .thirtyTwoBit),
    Function("cuArray3DGetDescriptor_v2", 3020, "CUDA_ARRAY3D_DESCRIPTOR *pArrayDescriptor, CUarray hArray"),
    Function("cuArrayCreate", 2000, absent: .thirtyTwoBit),
    Function("cuArrayCreate_v2", 3020, "CUarray *pHandle, const CUDA_ARRAY_DESCRIPTOR *pAllocateArray"),
    Function("cuArrayDestroy", 2000, "CUarray hArray"),
    Function("cuArrayGetDescriptor", 2000, absent: .thirtyTwoBit),
    Function("cuArrayGetDescriptor_v2", 3020, "CUDA_ARRAY_DESCRIPTOR *pArrayDescriptor, CUarray hArray"),
    Function(
        "cuArrayGetMemoryRequirements", 11060,
        "CUDA_ARRAY_MEMORY_REQUIREMENTS *memoryRequirements, CUarray array, CUdevice device"
    ),
    Function("cuArrayGetPlane", 11020, "CUarray *pPlaneArray, CUarray hArray, unsigned int planeIdx"),
    Function("cuArrayGetSparseProperties", 11010, "CUDA_ARRAY_SPARSE_PROPERTIES *sparseProperties, CUarray array"),
    Function(
        "cuMipmappedArrayCreate", 5000,
        "CUmipmappedArray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR *pMipmappedArrayDesc, unsigned int numMipmapLevels"
    ),
    Function("cuMipmappedArrayDestroy", 5000, "CUmipmappedArray hMipmappedArray"),
    Function(
        "cuMipmappedArrayGetLevel", 5000,
        "CUarray *pLevelArray, CUmipmappedArray hMipmappedArray, unsigned int level"
    ),
    Function(
        "cuMipmappedArrayGetMemoryRequirements", 11060,
        "CUDA_ARRAY_MEMORY_REQUIREMENTS *memoryRequirements, CUmipmappedArray mipmap, CUdevice device"
    ),
    Function(
        "cuMipmappedArrayGetSparseProperties", 11010,
        "CUDA_ARRAY_SPARSE_PROPERTIES *sparseProperties, CUmipmappedArray mipmap"
    ),
    Function("cuSurfObjectCreate", 5000, "CUsurfObject *pSurfObject, const CUDA_RESOURCE_DESC *pResDesc"),
    Function("cuSurfObjectDestroy", 5000, "CUsurfObject surfObject"),
    Function("cuSurfObjectGetResourceDesc", 5000, "CUDA_RESOURCE_DESC *pResDesc, CUsurfObject surfObject"),
    Function("cuSurfRefGetArray", 3000, "CUarray *phArray, CUsurfref hSurfRef"),
    Function("cuSurfRefSetArray", 3000, "CUsurfref hSurfRef, CUarray hArray, unsigned int Flags"),
    Function(
        "cuTensorMapEncodeIm2col", 12000,
        "CUtensorMap *tensorMap, CUtensorMapDataType tensorDataType, cuuint32_t tensorRank, void *globalAddress, const cuuint64_t *globalDim, const cuuint64_t *globalStrides, const int *pixelBoxLowerCorner, const int *pixelBoxUpperCorner, cuuint32_t channelsPerPixel, cuuint32_t pixelsPerColumn, const cuuint32_t *elementStrides, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2Promotion, CUtensorMapFloatOOBfill oobFill"
    ),
    Function(
        "cuTensorMapEncodeIm2colWide", 12080,
        "CUtensorMap *tensorMap, CUtensorMapDataType tensorDataType, cuuint32_t tensorRank, void *globalAddress, const cuuint64_t *globalDim, const cuuint64_t *globalStrides, int pixelBoxLowerCornerWidth, int pixelBoxUpperCornerWidth, cuuint32_t channelsPerPixel, cuuint32_t pixelsPerColumn, const cuuint32_t *elementStrides, CUtensorMapInterleave interleave, CUtensorMapIm2ColWideMode mode, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2Promotion, CUtensorMapFloatOOBfill oobFill"
    ),
    Function(
        "cuTensorMapEncodeTiled", 12000,
        "CUtensorMap *tensorMap, CUtensorMapDataType tensorDataType, cuuint32_t tensorRank, void *globalAddress, const cuuint64_t *globalDim, const cuuint64_t *globalStrides, const cuuint32_t *boxDim, const cuuint32_t *elementStrides, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2Promotion, CUtensorMapFloatOOBfill oobFill"
    ),
    Function("cuTensorMapReplaceAddress", 12000, "CUtensorMap *tensorMap, void *globalAddress"),
    Function(
        "cuTensorMapSetAllocationClass", 13050,
        "CUtensorMap *tensorMap, CUtensorMapAllocClass allocClass, CUtensorMapAllocClass *outAllocClass"
    ),
    Function(
        "cuTexObjectCreate", 5000,
        "CUtexObject *pTexObject, const CUDA_RESOURCE_DESC *pResDesc, const CUDA_TEXTURE_DESC *pTexDesc, const CUDA_RESOURCE_VIEW_DESC *pResViewDesc"
    ),
    Function("cuTexObjectDestroy", 5000, "CUtexObject texObject"),
    Function("cuTexObjectGetResourceDesc", 5000, "CUDA_RESOURCE_DESC *pResDesc, CUtexObject texObject"),
    Function("cuTexObjectGetResourceViewDesc", 5000, "CUDA_RESOURCE_VIEW_DESC *pResViewDesc, CUtexObject texObject"),
    Function("cuTexObjectGetTextureDesc", 5000, "CUDA_TEXTURE_DESC *pTexDesc, CUtexObject texObject"),
    Function("cuTexRefCreate", 2000, "CUtexref *pTexRef"),
    Function("cuTexRefDestroy", 2000, "CUtexref hTexRef"),
    Function("cuTexRefGetAddress", 2000, absent: .thirtyTwoBit),
    Function("cuTexRefGetAddressMode", 2000, "CUaddress_mode *pam, CUtexref hTexRef, int dim"),
    Function("cuTexRefGetAddress_v2", 3020, "CUdeviceptr *pdptr, CUtexref hTexRef"),
    Function("cuTexRefGetArray", 2000, "CUarray *phArray, CUtexref hTexRef"),
    Function("cuTexRefGetBorderColor", 8000, "float *pBorderColor, CUtexref hTexRef"),
    Function("cuTexRefGetFilterMode", 2000, "CUfilter_mode *pfm, CUtexref hTexRef"),
    Function("cuTexRefGetFlags", 2000, "unsigned int *pFlags, CUtexref hTexRef"),
    Function("cuTexRefGetFormat", 2000, "CUarray_format *pFormat, int *pNumChannels, CUtexref hTexRef"),
    Function("cuTexRefGetMaxAnisotropy", 5000, "int *pmaxAniso, CUtexref hTexRef"),
    Function("cuTexRefGetMipmapFilterMode", 5000, "CUfilter_mode *pfm, CUtexref hTexRef"),
    Function("cuTexRefGetMipmapLevelBias", 5000, "float *pbias, CUtexref hTexRef"),
    Function(
        "cuTexRefGetMipmapLevelClamp", 5000,
        "float *pminMipmapLevelClamp, float *pmaxMipmapLevelClamp, CUtexref hTexRef"),
    Function("cuTexRefGetMipmappedArray", 5000, "CUmipmappedArray *phMipmappedArray, CUtexref hTexRef"),
    Function("cuTexRefSetAddress", 2000, absent: .thirtyTwoBit),
    Function("cuTexRefSetAddress2D", 2020, absent: .thirtyTwoBit),
    Function("cuTexRefSetAddress2D_v2", 3020, sameAs: "cuTexRefSetAddress2D_v3"),
    Function(
        "cuTexRefSetAddress2D_v3", 4010,
        "CUtexref hTexRef, const CUDA_ARRAY_DESCRIPTOR *desc, CUdeviceptr dptr, size_t Pitch"),
    Function("cuTexRefSetAddressMode", 2000, "CUtexref hTexRef, int dim, CUaddress_mode am"),
    Function("cuTexRefSetAddress_v2", 3020, "size_t *ByteOffset, CUtexref hTexRef, CUdeviceptr dptr, size_t bytes"),
    Function("cuTexRefSetArray", 2000, "CUtexref hTexRef, CUarray hArray, unsigned int Flags"),
    Function("cuTexRefSetBorderColor", 8000, "CUtexref hTexRef, float *pBorderColor"),
    Function("cuTexRefSetFilterMode", 2000, "CUtexref hTexRef, CUfilter_mode fm"),
    Function("cuTexRefSetFlags", 2000, "CUtexref hTexRef, unsigned int Flags"),
    Function("cuTexRefSetFormat", 2000, "CUtexref hTexRef, CUarray_format fmt, int NumPackedComponents"),
    Function("cuTexRefSetMaxAnisotropy", 5000, "CUtexref hTexRef, unsigned int maxAniso"),
    Function("cuTexRefSetMipmapFilterMode", 5000, "CUtexref hTexRef, CUfilter_mode fm"),
    Function("cuTexRefSetMipmapLevelBias", 5000, "CUtexref hTexRef, float bias"),
    Function(
        "cuTexRefSetMipmapLevelClamp", 5000, "CUtexref hTexRef, float minMipmapLevelClamp, float maxMipmapLevelClamp"),
    Function(
        "cuTexRefSetMipmappedArray", 5000, "CUtexref hTexRef, CUmipmappedArray hMipmappedArray, unsigned int Flags"),
]

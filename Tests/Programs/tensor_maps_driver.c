// SPDX-License-Identifier: Apache-2.0
// The functions of tensor maps in front of a driver that has none: they write down what they were asked into the file that
// BITFUSION_TEST_TENSOR_MAPS names, and answer maps that tell it again.
#include <cuda.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t calls;

static FILE *log_file(const char *name) {
    const char *path = getenv("BITFUSION_TEST_TENSOR_MAPS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) abort();
    fprintf(file, "%s", name);
    calls++;
    return file;
}

// A driver's answer: where the tensor is, which call this was, and what the map was before.
static CUresult answer(CUtensorMap *map, const void *address, uint64_t kind) {
    if ((uintptr_t)map % 64) return CUDA_ERROR_MISALIGNED_ADDRESS;
    CUcontext context = NULL;
    if (cuCtxGetCurrent(&context) != CUDA_SUCCESS || !context) return CUDA_ERROR_INVALID_CONTEXT;
    map->opaque[15] = map->opaque[0];
    map->opaque[0] = (uint64_t)(uintptr_t)address;
    map->opaque[1] = calls;
    map->opaque[2] = kind;
    return CUDA_SUCCESS;
}

static void dimensions(
    FILE *file, unsigned type, unsigned rank, const void *address, const cuuint64_t *sizes, const cuuint64_t *strides) {
    fprintf(file, " %u %u %#llx sizes", type, rank, (unsigned long long)(uintptr_t)address);
    for (unsigned index = 0; index < rank; index++) fprintf(file, " %llu", (unsigned long long)sizes[index]);
    fprintf(file, " strides");
    if (!strides != (rank == 1)) abort();
    for (unsigned index = 0; index + 1 < rank; index++) fprintf(file, " %llu", (unsigned long long)strides[index]);
}

static void numbers(FILE *file, const char *name, const cuuint32_t *numbers, unsigned count) {
    fprintf(file, " %s", name);
    for (unsigned index = 0; index < count; index++) fprintf(file, " %d", (int)numbers[index]);
}

static CUresult end(FILE *file, CUtensorMap *map, unsigned type, const void *address, uint64_t kind) {
    fprintf(file, "\n");
    fclose(file);
    return type > CU_TENSOR_MAP_DATA_TYPE_16U6_ALIGN16B ? CUDA_ERROR_INVALID_VALUE : answer(map, address, kind);
}

CUresult cuTensorMapEncodeTiled(
    CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *sizes,
    const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *steps, CUtensorMapInterleave interleave,
    CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2, CUtensorMapFloatOOBfill fill) {
    FILE *file = log_file("tiled");
    dimensions(file, type, rank, address, sizes, strides);
    numbers(file, "box", box, rank);
    numbers(file, "steps", steps, rank);
    fprintf(file, " kinds %d %d %d %d", interleave, swizzle, l2, fill);
    return end(file, map, type, address, 1);
}

CUresult cuTensorMapEncodeIm2col(
    CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *sizes,
    const cuuint64_t *strides, const int *lower, const int *upper, cuuint32_t channels, cuuint32_t pixels,
    const cuuint32_t *steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion l2,
    CUtensorMapFloatOOBfill fill) {
    FILE *file = log_file("im2col");
    dimensions(file, type, rank, address, sizes, strides);
    numbers(file, "lower", (const cuuint32_t *)lower, rank - 2);
    numbers(file, "upper", (const cuuint32_t *)upper, rank - 2);
    fprintf(file, " pixels %u %u", channels, pixels);
    numbers(file, "steps", steps, rank);
    fprintf(file, " kinds %d %d %d %d", interleave, swizzle, l2, fill);
    return end(file, map, type, address, 2);
}

CUresult cuTensorMapEncodeIm2colWide(
    CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address, const cuuint64_t *sizes,
    const cuuint64_t *strides, int lower, int upper, cuuint32_t channels, cuuint32_t pixels, const cuuint32_t *steps,
    CUtensorMapInterleave interleave, CUtensorMapIm2ColWideMode mode, CUtensorMapSwizzle swizzle,
    CUtensorMapL2promotion l2, CUtensorMapFloatOOBfill fill) {
    FILE *file = log_file("wide");
    dimensions(file, type, rank, address, sizes, strides);
    fprintf(file, " row %d %d pixels %u %u", lower, upper, channels, pixels);
    numbers(file, "steps", steps, rank);
    fprintf(file, " kinds %d %d %d %d %d", interleave, mode, swizzle, l2, fill);
    return end(file, map, type, address, 3);
}

CUresult cuTensorMapReplaceAddress(CUtensorMap *map, void *address) {
    FILE *file = log_file("replace");
    fprintf(file, " %#llx by %#llx", (unsigned long long)map->opaque[0], (unsigned long long)(uintptr_t)address);
    return end(file, map, 0, address, 4);
}

CUresult cuTensorMapSetAllocationClass(CUtensorMap *map, CUtensorMapAllocClass class, CUtensorMapAllocClass *effective) {
    FILE *file = log_file("class");
    fprintf(file, " %d", class);
    if (effective) *effective = CU_TENSOR_MAP_ALLOC_CLASS_LARGE;
    return end(file, map, class > 2 ? 99 : 0, (void *)(uintptr_t)map->opaque[0], 5);
}

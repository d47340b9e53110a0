// SPDX-License-Identifier: Apache-2.0
// Tensor maps as cuBLAS, CUTLASS and Triton make them: the functions are found by cuGetProcAddress. The driver on the server
// is that of tensor_maps_driver.c, whose maps tell what it was asked.
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void expect(int line, const char *what, CUresult found, CUresult wanted) {
    if (found == wanted) return;
    fprintf(stderr, "tensor_maps.c:%d: %s: %d, expected %d\n", line, what, (int)found, (int)wanted);
    exit(1);
}
#define OK(call) expect(__LINE__, #call, call, CUDA_SUCCESS)
#define FAILS(error, call) expect(__LINE__, #call, call, error)
#define CHECK(condition) if (!(condition)) { fprintf(stderr, "tensor_maps.c:%d: %s\n", __LINE__, #condition); exit(1); }

static CUresult (*tiled)(
    CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
    const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

static const cuuint64_t sizes[5] = {64, 32, 16, 8, 1ull << 31}, strides[4] = {128, 4096, 1ull << 39, 65536};
static const cuuint32_t box[5] = {64, 8, 4, 2, 1}, steps[5] = {1, 2, 3, 4, 5};

static CUresult encode(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, CUdeviceptr address) {
    return tiled(map, type, rank, (void *)address, sizes, rank > 1 ? strides : NULL, box, steps,
        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

// Arguments that this side refuses: the server's driver is not asked.
static void refused(CUdeviceptr memory) {
    CUtensorMap map[2];
    CUtensorMap *unaligned = (CUtensorMap *)((char *)map + 32);
    FAILS(CUDA_ERROR_INVALID_VALUE, encode(unaligned, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, memory));
    FAILS(CUDA_ERROR_INVALID_VALUE, encode(NULL, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, memory));
    FAILS(CUDA_ERROR_INVALID_VALUE, encode(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 0, memory));
    FAILS(CUDA_ERROR_INVALID_VALUE, encode(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 6, memory));
    FAILS(CUDA_ERROR_INVALID_VALUE,
        tiled(map, 0, 2, (void *)memory, sizes, NULL, box, steps, 0, 0, 0, 0));
    FAILS(CUDA_ERROR_INVALID_VALUE,
        tiled(map, 0, 2, (void *)memory, NULL, strides, box, steps, 0, 0, 0, 0));
    FAILS(CUDA_ERROR_INVALID_VALUE,
        tiled(map, 0, 2, (void *)memory, sizes, strides, NULL, steps, 0, 0, 0, 0));
    FAILS(CUDA_ERROR_INVALID_VALUE,
        tiled(map, 0, 2, (void *)memory, sizes, strides, box, NULL, 0, 0, 0, 0));
    const int corner[3] = {0};
    FAILS(CUDA_ERROR_INVALID_VALUE,
        cuTensorMapEncodeIm2col(map, 0, 2, (void *)memory, sizes, strides, corner, corner, 1, 1, steps, 0, 0, 0, 0));
    FAILS(CUDA_ERROR_INVALID_VALUE,
        cuTensorMapEncodeIm2col(map, 0, 3, (void *)memory, sizes, strides, NULL, corner, 1, 1, steps, 0, 0, 0, 0));
    FAILS(CUDA_ERROR_INVALID_VALUE,
        cuTensorMapEncodeIm2colWide(map, 0, 2, (void *)memory, sizes, strides, 0, 0, 1, 1, steps, 0, 0, 0, 0, 0));
    FAILS(CUDA_ERROR_INVALID_VALUE, cuTensorMapReplaceAddress(NULL, (void *)memory));
    CUtensorMapAllocClass class = CU_TENSOR_MAP_ALLOC_CLASS_LARGE;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuTensorMapSetAllocationClass(unaligned, CU_TENSOR_MAP_ALLOC_CLASS_LARGE, &class));
    CHECK(class == CU_TENSOR_MAP_ALLOC_CLASS_SMALL);
}

int main(void) {
    CUcontext context;
    CUdeviceptr memory;
    CUtensorMap map = {{0}}, again = {{0}}, before;
    CUdriverProcAddressQueryResult found;
    OK(cuInit(0));
    OK(cuGetProcAddress("cuTensorMapEncodeTiled", (void **)&tiled, 12000, CU_GET_PROC_ADDRESS_DEFAULT, &found));
    FAILS(CUDA_ERROR_INVALID_CONTEXT, encode(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, 4096));
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    OK(cuMemAlloc(&memory, 1 << 20));
    printf("%#llx\n", (unsigned long long)memory);
    refused(memory);

    OK(encode(&map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, memory));
    CHECK(map.opaque[0] == memory && map.opaque[1] == 1 && map.opaque[2] == 1);
    OK(encode(&again, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, memory));
    CHECK(memcmp(&map, &again, sizeof map) == 0);
    double start = seconds();
    for (int round = 0; round < 100000; round++) OK(encode(&again, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, memory));
    fprintf(stderr, "%.0f ns for a map that is known\n", (seconds() - start) * 1e4);
    OK(encode(&again, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 5, memory + 256));
    CHECK(again.opaque[0] == memory + 256 && again.opaque[1] == 2);
    OK(encode(&again, CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, memory));

    // What the server's driver refuses is refused again, by it.
    before = again;
    for (int round = 0; round < 2; round++) FAILS(CUDA_ERROR_INVALID_VALUE, encode(&again, 99, 2, memory));
    CHECK(memcmp(&before, &again, sizeof again) == 0);

    const int lower[3] = {-1, -2, -3}, upper[3] = {1, 2, 3};
    OK(cuTensorMapEncodeIm2col(&again, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4, (void *)memory, sizes, strides, lower, upper,
        64, 256, steps, CU_TENSOR_MAP_INTERLEAVE_16B, CU_TENSOR_MAP_SWIZZLE_32B, CU_TENSOR_MAP_L2_PROMOTION_NONE,
        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
    OK(cuTensorMapEncodeIm2colWide(&again, CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 5, (void *)memory, sizes, strides, -4, 7, 32,
        128, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_IM2COL_WIDE_MODE_W128, CU_TENSOR_MAP_SWIZZLE_64B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_64B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
    CHECK(again.opaque[2] == 3);

    for (int round = 0; round < 3; round++) {
        again = map;
        OK(cuTensorMapReplaceAddress(&again, (void *)(memory + 512)));
        CHECK(again.opaque[0] == memory + 512 && again.opaque[2] == 4 && again.opaque[15] == memory);
        CUtensorMapAllocClass class = CU_TENSOR_MAP_ALLOC_CLASS_AUTO;
        OK(cuTensorMapSetAllocationClass(&again, CU_TENSOR_MAP_ALLOC_CLASS_LARGE, &class));
        CHECK(class == CU_TENSOR_MAP_ALLOC_CLASS_LARGE && again.opaque[2] == 5);
        OK(cuTensorMapSetAllocationClass(&again, CU_TENSOR_MAP_ALLOC_CLASS_SMALL, NULL));
    }

    // The device has pinned memory of the host elsewhere.
    void *pinned;
    CUdeviceptr place;
    OK(cuMemAllocHost(&pinned, 1 << 16));
    OK(encode(&again, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, (CUdeviceptr)pinned + 64));
    OK(cuMemHostGetDevicePointer(&place, pinned, 0));
    CHECK(again.opaque[0] == place + 64);
    OK(cuMemFreeHost(pinned));
    OK(cuCtxSynchronize());
    printf("ok tensor_maps\n");
    return 0;
}

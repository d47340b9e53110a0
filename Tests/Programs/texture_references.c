// SPDX-License-Identifier: Apache-2.0
// Texture and surface references, as programs of before CUDA 12 have them: by PTX text, because no current compiler makes
// them.
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect(int line, const char *what, CUresult found, CUresult wanted) {
    if (found == wanted) return;
    fprintf(stderr, "texture_references.c:%d: %s: %d, expected %d\n", line, what, (int)found, (int)wanted);
    exit(1);
}
#define OK(call) expect(__LINE__, #call, call, CUDA_SUCCESS)
#define FAILS(error, call) expect(__LINE__, #call, call, error)
#define CHECK(condition) \
    if (!(condition)) { fprintf(stderr, "texture_references.c:%d: %s\n", __LINE__, #condition); exit(1); }

// read(out): the texture at (x + 0.5, y + 0.5), 4 x 2; bytes(out): its element x as a number; paint(): x into a surface.
static const char ptx[] =
    ".version 6.4\n.target sm_70\n.address_size 64\n"
    ".global .texref image;\n.global .texref raw;\n.global .surfref canvas;\n"
    ".visible .entry read(.param .u64 out) {\n"
    "  .reg .b32 %r<6>; .reg .b64 %d<4>; .reg .f32 %f<8>;\n"
    "  ld.param.u64 %d1, [out]; mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 3; shr.u32 %r3, %r1, 2;\n"
    "  cvt.rn.f32.u32 %f1, %r2; cvt.rn.f32.u32 %f2, %r3;\n"
    "  add.f32 %f1, %f1, 0f3F000000; add.f32 %f2, %f2, 0f3F000000;\n"
    "  tex.2d.v4.f32.f32 {%f3, %f4, %f5, %f6}, [image, {%f1, %f2}];\n"
    "  mul.wide.u32 %d2, %r1, 4; add.u64 %d1, %d1, %d2; st.global.f32 [%d1], %f3; ret; }\n"
    ".visible .entry bytes(.param .u64 out) {\n"
    "  .reg .b32 %r<8>; .reg .b64 %d<4>;\n"
    "  ld.param.u64 %d1, [out]; mov.u32 %r1, %tid.x;\n"
    "  tex.1d.v4.u32.s32 {%r2, %r3, %r4, %r5}, [raw, {%r1}];\n"
    "  mul.wide.u32 %d2, %r1, 4; add.u64 %d1, %d1, %d2; st.global.u32 [%d1], %r2; ret; }\n"
    ".visible .entry paint() {\n"
    "  .reg .b32 %r<4>; mov.u32 %r1, %tid.x; shl.b32 %r2, %r1, 2;\n"
    "  sust.b.1d.b32.trap [canvas, {%r2}], {%r1}; ret; }\n";

static CUmodule module;
static CUdeviceptr out;

static void launch(const char *name, unsigned threads, int takes_out) {
    CUfunction function;
    void *parameters[] = {&out};
    OK(cuModuleGetFunction(&function, module, name));
    OK(cuLaunchKernel(function, 1, 1, 1, threads, 1, 1, 0, NULL, takes_out ? parameters : NULL, NULL));
}

static CUarray array_of(const float *values, unsigned width, unsigned height, unsigned flags) {
    CUDA_ARRAY3D_DESCRIPTOR shape = {width, height, 0, CU_AD_FORMAT_FLOAT, 1, flags};
    CUarray array;
    OK(cuArray3DCreate(&array, &shape));
    CUDA_MEMCPY2D copy = {0};
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = values;
    copy.srcPitch = copy.WidthInBytes = width * 4;
    copy.Height = height ? height : 1;
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = array;
    OK(cuMemcpy2D(&copy));
    return array;
}

static void reads(const float *expected) {
    float found[8];
    launch("read", 8, 1);
    OK(cuMemcpyDtoH(found, out, sizeof found));
    for (int index = 0; index < 8; index++) {
        if (found[index] == expected[index]) continue;
        fprintf(stderr, "texture_references.c: %d is %g, expected %g\n", index, found[index], expected[index]);
        exit(1);
    }
}

int main(void) {
    CUcontext context;
    CUtexref image, raw, missing;
    CUsurfref canvas;
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    OK(cuModuleLoadData(&module, ptx));
    OK(cuMemAlloc(&out, 4096));
    OK(cuModuleGetTexRef(&image, module, "image"));
    OK(cuModuleGetTexRef(&raw, module, "raw"));
    OK(cuModuleGetSurfRef(&canvas, module, "canvas"));
    FAILS(CUDA_ERROR_NOT_FOUND, cuModuleGetTexRef(&missing, module, "canvas"));
    FAILS(CUDA_ERROR_INVALID_HANDLE, cuTexRefSetFlags((CUtexref)0x1234, 0));

    const float first[8] = {1, 2, 3, 4, 5, 6, 7, 8}, second[8] = {8, 7, 6, 5, 4, 3, 2, 1};
    CUarray one = array_of(first, 4, 2, 0), two = array_of(second, 4, 2, 0);
    OK(cuTexRefSetAddressMode(image, 0, CU_TR_ADDRESS_MODE_CLAMP));
    OK(cuTexRefSetAddressMode(image, 1, CU_TR_ADDRESS_MODE_CLAMP));
    OK(cuTexRefSetArray(image, one, CU_TRSA_OVERRIDE_FORMAT));
    reads(first);
    // Rebound all the time: every launch reads what is bound when it is made.
    for (int round = 0; round < 200; round++) {
        OK(cuTexRefSetArray(image, round % 2 ? one : two, CU_TRSA_OVERRIDE_FORMAT));
        launch("read", 8, 1);
    }
    OK(cuTexRefSetArray(image, two, CU_TRSA_OVERRIDE_FORMAT));
    reads(second);

    // Rows of memory.
    CUdeviceptr rows;
    size_t pitch;
    OK(cuMemAllocPitch(&rows, &pitch, 16, 2, 4));
    OK(cuMemcpyHtoD(rows, second + 4, 16));
    OK(cuMemcpyHtoD(rows + pitch, second, 16));
    CUDA_ARRAY_DESCRIPTOR shape = {4, 2, CU_AD_FORMAT_FLOAT, 1};
    OK(cuTexRefSetAddress2D(image, &shape, rows, pitch));
    const float swapped[8] = {4, 3, 2, 1, 8, 7, 6, 5};
    reads(swapped);

    // Bytes, read as numbers, from a place that is not aligned.
    unsigned char bytes[1024];
    unsigned numbers[8];
    for (int index = 0; index < 1024; index++) bytes[index] = (unsigned char)(index * 7);
    CUdeviceptr memory;
    size_t offset = 77;
    OK(cuMemAlloc(&memory, sizeof bytes));
    OK(cuMemcpyHtoD(memory, bytes, sizeof bytes));
    OK(cuTexRefSetFormat(raw, CU_AD_FORMAT_UNSIGNED_INT8, 1));
    OK(cuTexRefSetFlags(raw, CU_TRSF_READ_AS_INTEGER));
    OK(cuTexRefSetAddress(&offset, raw, memory + 4, 1000));
    CHECK(offset == 4);
    FAILS(CUDA_ERROR_INVALID_VALUE, cuTexRefSetAddress(NULL, raw, memory + 4, 1000));
    launch("bytes", 8, 1);
    OK(cuMemcpyDtoH(numbers, out, sizeof numbers));
    for (int index = 0; index < 8; index++) CHECK(numbers[index] == bytes[index]);

    const float none[4] = {0};
    unsigned painted[4];
    CUarray surface = array_of(none, 4, 0, CUDA_ARRAY3D_SURFACE_LDST), told;
    FAILS(CUDA_ERROR_INVALID_VALUE, cuSurfRefSetArray(canvas, one, 0));
    OK(cuSurfRefSetArray(canvas, surface, 0));
    OK(cuSurfRefGetArray(&told, canvas));
    CHECK(told == surface);
    launch("paint", 4, 0);
    OK(cuMemcpyAtoH(painted, surface, 0, sizeof painted));
    for (unsigned index = 0; index < 4; index++) CHECK(painted[index] == index);

    OK(cuModuleUnload(module));
    FAILS(CUDA_ERROR_INVALID_HANDLE, cuTexRefSetFlags(image, 0));
    FAILS(CUDA_ERROR_INVALID_HANDLE, cuSurfRefSetArray(canvas, surface, 0));
    OK(cuCtxSynchronize());
    printf("ok texture_references\n");
    return 0;
}

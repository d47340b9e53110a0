// SPDX-License-Identifier: Apache-2.0

let copiesFunctions: [Function] = [
    Function("cuFabricCpyBatchAsync", 13050, absent: .fabric, perThread: .ptsz(13050)),
    Function("cuMemcpy", 4000, "CUdeviceptr dst, CUdeviceptr src, size_t ByteCount", perThread: .ptds(7000)),
    Function("cuMemcpy2D", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpy2DAsync", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpy2DAsync_v2", 3020, "const CUDA_MEMCPY2D *pCopy, CUstream hStream", perThread: .ptsz(7000)),
    Function("cuMemcpy2DUnaligned", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpy2DUnaligned_v2", 3020, "const CUDA_MEMCPY2D *pCopy", perThread: .ptds(7000)),
    Function("cuMemcpy2D_v2", 3020, "const CUDA_MEMCPY2D *pCopy", perThread: .ptds(7000)),
    Function("cuMemcpy3D", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpy3DAsync", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpy3DAsync_v2", 3020, "const CUDA_MEMCPY3D *pCopy, CUstream hStream", perThread: .ptsz(7000)),
    Function(
        "cuMemcpy3DBatchAsync", 12080,
        "size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList, size_t *failIdx, unsigned long long flags, CUstream hStream",
        perThread: .ptsz(12080)),
    Function(
        "cuMemcpy3DBatchAsync_v2", 13000,
        "size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList, unsigned long long flags, CUstream hStream",
        perThread: .ptsz(13000)),
    Function("cuMemcpy3DPeer", 4000, "const CUDA_MEMCPY3D_PEER *pCopy", perThread: .ptds(7000)),
    Function(
        "cuMemcpy3DPeerAsync", 4000,
        "const CUDA_MEMCPY3D_PEER *pCopy, CUstream hStream", perThread: .ptsz(7000)),
    Function(
        "cuMemcpy3DWithAttributesAsync", 13020,
        "CUDA_MEMCPY3D_BATCH_OP *op, unsigned long long flags, CUstream hStream", perThread: .ptsz(13020)),
    Function("cuMemcpy3D_v2", 3020, "const CUDA_MEMCPY3D *pCopy", perThread: .ptds(7000)),
    Function(
        "cuMemcpyAsync", 4000,
        "CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream", perThread: .ptsz(7000)),
    Function("cuMemcpyAtoA", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemcpyAtoA_v2", 3020,
        "CUarray dstArray, size_t dstOffset, CUarray srcArray, size_t srcOffset, size_t ByteCount",
        perThread: .ptds(7000)),
    Function("cuMemcpyAtoD", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemcpyAtoD_v2", 3020,
        "CUdeviceptr dstDevice, CUarray srcArray, size_t srcOffset, size_t ByteCount", perThread: .ptds(7000)),
    Function("cuMemcpyAtoH", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpyAtoHAsync", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemcpyAtoHAsync_v2", 3020,
        "void *dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount, CUstream hStream", perThread: .ptsz(7000)),
    Function(
        "cuMemcpyAtoH_v2", 3020,
        "void *dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount", perThread: .ptds(7000)),
    Function(
        "cuMemcpyBatchAsync", 12080,
        "CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count, CUmemcpyAttributes *attrs, size_t *attrsIdxs, size_t numAttrs, size_t *failIdx, CUstream hStream",
        perThread: .ptsz(12080)),
    Function(
        "cuMemcpyBatchAsync_v2", 13000,
        "CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count, CUmemcpyAttributes *attrs, size_t *attrsIdxs, size_t numAttrs, CUstream hStream",
        perThread: .ptsz(13000)),
    Function("cuMemcpyDtoA", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemcpyDtoA_v2", 3020,
        "CUarray dstArray, size_t dstOffset, CUdeviceptr srcDevice, size_t ByteCount", perThread: .ptds(7000)),
    Function("cuMemcpyDtoD", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpyDtoDAsync", 3000, absent: .thirtyTwoBit),
    Function(
        "cuMemcpyDtoDAsync_v2", 3020,
        "CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount, CUstream hStream", perThread: .ptsz(7000)),
    Function(
        "cuMemcpyDtoD_v2", 3020,
        "CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount", perThread: .ptds(7000)),
    Function("cuMemcpyDtoH", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpyDtoHAsync", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemcpyDtoHAsync_v2", 3020,
        "void *dstHost, CUdeviceptr srcDevice, size_t ByteCount, CUstream hStream", perThread: .ptsz(7000)),
    Function(
        "cuMemcpyDtoH_v2", 3020,
        "void *dstHost, CUdeviceptr srcDevice, size_t ByteCount", perThread: .ptds(7000)),
    Function("cuMemcpyHtoA", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpyHtoAAsync", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemcpyHtoAAsync_v2", 3020,
        "CUarray dstArray, size_t dstOffset, const void *srcHost, size_t ByteCount, CUstream hStream",
        perThread: .ptsz(7000)),
    Function(
        "cuMemcpyHtoA_v2", 3020,
        "CUarray dstArray, size_t dstOffset, const void *srcHost, size_t ByteCount", perThread: .ptds(7000)),
    Function("cuMemcpyHtoD", 2000, absent: .thirtyTwoBit),
    Function("cuMemcpyHtoDAsync", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemcpyHtoDAsync_v2", 3020,
        "CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount, CUstream hStream", perThread: .ptsz(7000)),
    Function(
        "cuMemcpyHtoD_v2", 3020,
        "CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount", perThread: .ptds(7000)),
    Function(
        "cuMemcpyPeer", 4000,
        "CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice, CUcontext srcContext, size_t ByteCount",
        perThread: .ptds(7000)),
    Function(
        "cuMemcpyPeerAsync", 4000,
        "CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice, CUcontext srcContext, size_t ByteCount, CUstream hStream",
        perThread: .ptsz(7000)),
    Function(
        "cuMemcpyWithAttributesAsync", 13020,
        "CUdeviceptr dst, CUdeviceptr src, size_t size, CUmemcpyAttributes *attr, CUstream hStream",
        perThread: .ptsz(13020)),
    Function("cuMemsetD16", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemsetD16Async", 3020,
        "CUdeviceptr dstDevice, unsigned short us, size_t N, CUstream hStream", perThread: .ptsz(7000)),
    Function("cuMemsetD16_v2", 3020, "CUdeviceptr dstDevice, unsigned short us, size_t N", perThread: .ptds(7000)),
    Function("cuMemsetD2D16", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemsetD2D16Async", 3020,
        "CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width, size_t Height, CUstream hStream",
        perThread: .ptsz(7000)),
    Function(
        "cuMemsetD2D16_v2", 3020,
        "CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width, size_t Height", perThread: .ptds(7000)
    ),
    Function("cuMemsetD2D32", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemsetD2D32Async", 3020,
        "CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width, size_t Height, CUstream hStream",
        perThread: .ptsz(7000)),
    Function(
        "cuMemsetD2D32_v2", 3020,
        "CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width, size_t Height", perThread: .ptds(7000)),
    Function("cuMemsetD2D8", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemsetD2D8Async", 3020,
        "CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width, size_t Height, CUstream hStream",
        perThread: .ptsz(7000)),
    Function(
        "cuMemsetD2D8_v2", 3020,
        "CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width, size_t Height", perThread: .ptds(7000)),
    Function("cuMemsetD32", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemsetD32Async", 3020,
        "CUdeviceptr dstDevice, unsigned int ui, size_t N, CUstream hStream", perThread: .ptsz(7000)),
    Function("cuMemsetD32_v2", 3020, "CUdeviceptr dstDevice, unsigned int ui, size_t N", perThread: .ptds(7000)),
    Function("cuMemsetD8", 2000, absent: .thirtyTwoBit),
    Function(
        "cuMemsetD8Async", 3020,
        "CUdeviceptr dstDevice, unsigned char uc, size_t N, CUstream hStream", perThread: .ptsz(7000)),
    Function("cuMemsetD8_v2", 3020, "CUdeviceptr dstDevice, unsigned char uc, size_t N", perThread: .ptds(7000)),
]

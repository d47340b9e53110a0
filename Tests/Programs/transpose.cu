// SPDX-License-Identifier: Apache-2.0
// Transpose through a padded tile, on pitched memory filled and read by two-dimensional copies.
#include "check.h"

const int tile = 32, rowsPerStep = 8;

__global__ void transpose(const double *input, size_t inputPitch, double *output, size_t outputPitch, int width,
                          int height) {
    __shared__ double buffer[tile][tile + 1];
    int x = blockIdx.x * tile + threadIdx.x;
    for (int r = threadIdx.y; r < tile; r += rowsPerStep) {
        int y = blockIdx.y * tile + r;
        if (x < width && y < height) buffer[r][threadIdx.x] = ((const double *)((const char *)input + y * inputPitch))[x];
    }
    __syncthreads();
    int outputX = blockIdx.y * tile + threadIdx.x;
    for (int r = threadIdx.y; r < tile; r += rowsPerStep) {
        int outputY = blockIdx.x * tile + r;
        if (outputX < height && outputY < width)
            ((double *)((char *)output + outputY * outputPitch))[outputX] = buffer[threadIdx.x][r];
    }
}

int main() {
    const int width = 117, height = 75;
    std::vector<double> input(width * height), expected(width * height), found(width * height, -1);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            input[y * width + x] = y * 1000.0 + x;
            expected[x * height + y] = input[y * width + x];
        }
    double *deviceInput, *deviceOutput;
    size_t inputPitch, outputPitch;
    CHECK(cudaMallocPitch((void **)&deviceInput, &inputPitch, width * sizeof(double), height));
    CHECK(cudaMallocPitch((void **)&deviceOutput, &outputPitch, height * sizeof(double), width));
    EXPECT(inputPitch >= width * sizeof(double) && outputPitch >= height * sizeof(double));
    CHECK(cudaMemcpy2D(deviceInput, inputPitch, input.data(), width * sizeof(double), width * sizeof(double), height,
                       cudaMemcpyHostToDevice));
    CHECK(cudaMemset2D(deviceOutput, outputPitch, 0xff, height * sizeof(double), width));
    dim3 grid((width + tile - 1) / tile, (height + tile - 1) / tile), block(tile, rowsPerStep);
    transpose<<<grid, block>>>(deviceInput, inputPitch, deviceOutput, outputPitch, width, height);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy2D(found.data(), height * sizeof(double), deviceOutput, outputPitch, height * sizeof(double), width,
                       cudaMemcpyDeviceToHost));
    expectEqual(found, expected, "transposed");
    CHECK(cudaFree(deviceInput));
    CHECK(cudaFree(deviceOutput));
    return succeed("transpose");
}

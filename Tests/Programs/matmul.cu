// SPDX-License-Identifier: Apache-2.0
// Matrix product by tiles in shared memory, with sizes that are no multiple of the tile.
#include "check.h"

const int tile = 16;

__global__ void multiply(const float *a, const float *b, float *c, int rows, int inner, int columns) {
    __shared__ float tileA[tile][tile];
    __shared__ float tileB[tile][tile + 1];
    int row = blockIdx.y * tile + threadIdx.y, column = blockIdx.x * tile + threadIdx.x;
    float sum = 0;
    for (int k = 0; k < inner; k += tile) {
        int ka = k + threadIdx.x, kb = k + threadIdx.y;
        tileA[threadIdx.y][threadIdx.x] = row < rows && ka < inner ? a[row * inner + ka] : 0;
        tileB[threadIdx.y][threadIdx.x] = kb < inner && column < columns ? b[kb * columns + column] : 0;
        __syncthreads();
        for (int i = 0; i < tile; i++) sum += tileA[threadIdx.y][i] * tileB[i][threadIdx.x];
        __syncthreads();
    }
    if (row < rows && column < columns) c[row * columns + column] = sum;
}

int main() {
    const int rows = 70, inner = 93, columns = 51;
    Random random;
    std::vector<float> a(rows * inner), b(inner * columns), expected(rows * columns);
    for (float &x : a) x = random.unit() - 0.5f;
    for (float &x : b) x = random.unit() - 0.5f;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            double sum = 0;
            for (int k = 0; k < inner; k++) sum += (double)a[i * inner + k] * b[k * columns + j];
            expected[i * columns + j] = (float)sum;
        }
    DeviceArray<float> deviceA(a), deviceB(b), deviceC(rows * columns);
    dim3 grid((columns + tile - 1) / tile, (rows + tile - 1) / tile), block(tile, tile);
    multiply<<<grid, block>>>(deviceA.data, deviceB.data, deviceC.data, rows, inner, columns);
    CHECK(cudaGetLastError());
    expectClose(deviceC.download(), expected, 1e-5, "c");
    return succeed("matmul");
}

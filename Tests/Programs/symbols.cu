// SPDX-License-Identifier: Apache-2.0
// Constants and global variables of a module: initial values, addresses inside initial values, copies by symbol.
#include "check.h"

struct Settings {
    float scale;
    short offset;
    double weights[3];
};

__constant__ Settings settings = {2.0f, -3, {0.5, 0.25, 0.125}};
__constant__ int table[5] = {10, 20, 30, 40, 50};
__device__ int counter = 41;
__device__ int words[4] = {1, 2, 3, 4};
__device__ int *pointerToThird = &words[2];

__device__ int addOne(int x) { return x + 1; }
__device__ int timesTwo(int x) { return x * 2; }
typedef int (*Operation)(int);
__device__ Operation operations[2] = {addOne, timesTwo};

__global__ void readAll(double *results) {
    results[0] = settings.scale;
    results[1] = settings.offset;
    results[2] = settings.weights[0] + settings.weights[1] + settings.weights[2];
    results[3] = table[threadIdx.x + 4];
    results[4] = counter;
    results[5] = *pointerToThird;
    results[6] = operations[threadIdx.x & 1](20);
    results[7] = operations[(threadIdx.x + 1) & 1](20);
    counter = 43;
    *pointerToThird = 33;
}

static std::vector<double> read() {
    DeviceArray<double> results(8);
    readAll<<<1, 1>>>(results.data);
    CHECK(cudaGetLastError());
    return results.download();
}

int main() {
    expectEqual(read(), std::vector<double>{2, -3, 0.875, 50, 41, 3, 21, 40}, "initial values");

    Settings changed = {7.0f, 5, {1, 2, 4}};
    CHECK(cudaMemcpyToSymbol(settings, &changed, sizeof changed));
    int fifth = 99;
    CHECK(cudaMemcpyToSymbol(table, &fifth, sizeof fifth, 4 * sizeof(int)));
    expectEqual(read(), std::vector<double>{7, 5, 7, 99, 43, 33, 21, 40}, "changed values");

    int value = 0, all[4] = {};
    CHECK(cudaMemcpyFromSymbol(&value, counter, sizeof value));
    CHECK(cudaMemcpyFromSymbol(all, words, sizeof all));
    EXPECT(value == 43 && all[0] == 1 && all[2] == 33 && all[3] == 4);

    int *address = nullptr;
    size_t size = 0;
    CHECK(cudaGetSymbolAddress((void **)&address, words));
    CHECK(cudaGetSymbolSize(&size, words));
    EXPECT(size == sizeof all);
    CHECK(cudaMemset(address + 2, 0, sizeof(int)));
    CHECK(cudaMemcpyFromSymbol(all, words, sizeof all));
    EXPECT(all[1] == 2 && all[2] == 0 && all[3] == 4);
    EXPECT(cudaMemcpyToSymbol(table, &fifth, sizeof fifth, sizeof table) != cudaSuccess);
    return succeed("symbols");
}

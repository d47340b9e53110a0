// SPDX-License-Identifier: Apache-2.0
// Gravity between all pairs of bodies: vectors of four floats, tiles in shared memory, rsqrt, several steps.
#include "check.h"

const int blockSize = 64, bodies = 256, steps = 4;
const float softening = 0.01f, stepTime = 0.01f;

__global__ void advance(const float4 *from, float4 *to, float4 *velocities) {
    __shared__ float4 shared[blockSize];
    int i = blockIdx.x * blockSize + threadIdx.x;
    float4 own = from[i];
    float3 pull = make_float3(0, 0, 0);
    for (int start = 0; start < bodies; start += blockSize) {
        shared[threadIdx.x] = from[start + threadIdx.x];
        __syncthreads();
#pragma unroll 4
        for (int j = 0; j < blockSize; j++) {
            float dx = shared[j].x - own.x, dy = shared[j].y - own.y, dz = shared[j].z - own.z;
            float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + softening);
            float weight = shared[j].w * inverse * inverse * inverse;
            pull.x += dx * weight;
            pull.y += dy * weight;
            pull.z += dz * weight;
        }
        __syncthreads();
    }
    float4 velocity = velocities[i];
    velocity.x += pull.x * stepTime;
    velocity.y += pull.y * stepTime;
    velocity.z += pull.z * stepTime;
    velocities[i] = velocity;
    to[i] = make_float4(own.x + velocity.x * stepTime, own.y + velocity.y * stepTime, own.z + velocity.z * stepTime,
                        own.w);
}

int main() {
    Random random;
    std::vector<float4> positions(bodies), velocities(bodies, make_float4(0, 0, 0, 0));
    for (float4 &p : positions) p = make_float4(random.unit(), random.unit(), random.unit(), random.unit());
    DeviceArray<float4> a(positions), b(bodies), deviceVelocities(velocities);
    for (int step = 0; step < steps; step++)
        advance<<<bodies / blockSize, blockSize>>>(step % 2 ? b.data : a.data, step % 2 ? a.data : b.data,
                                                   deviceVelocities.data);
    CHECK(cudaGetLastError());
    std::vector<float4> found = a.download();  // An even number of steps ends in the first array.

    for (int step = 0; step < steps; step++) {
        std::vector<float4> next = positions;
        for (int i = 0; i < bodies; i++) {
            double pull[3] = {0, 0, 0};
            for (int j = 0; j < bodies; j++) {
                double dx = positions[j].x - positions[i].x, dy = positions[j].y - positions[i].y,
                       dz = positions[j].z - positions[i].z;
                double inverse = 1 / std::sqrt(dx * dx + dy * dy + dz * dz + softening);
                double weight = positions[j].w * inverse * inverse * inverse;
                pull[0] += dx * weight;
                pull[1] += dy * weight;
                pull[2] += dz * weight;
            }
            velocities[i].x += (float)pull[0] * stepTime;
            velocities[i].y += (float)pull[1] * stepTime;
            velocities[i].z += (float)pull[2] * stepTime;
            next[i].x += velocities[i].x * stepTime;
            next[i].y += velocities[i].y * stepTime;
            next[i].z += velocities[i].z * stepTime;
        }
        positions = next;
    }
    for (int i = 0; i < bodies; i++) {
        EXPECT(std::fabs(found[i].x - positions[i].x) < 1e-3f);
        EXPECT(std::fabs(found[i].y - positions[i].y) < 1e-3f);
        EXPECT(std::fabs(found[i].z - positions[i].z) < 1e-3f);
        EXPECT(found[i].w == positions[i].w);
    }
    return succeed("nbody");
}

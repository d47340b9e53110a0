// SPDX-License-Identifier: Apache-2.0
// Arithmetic in double and in half precision, and the mathematical functions of each.
#include <cuda_fp16.h>

#include "check.h"

__global__ void doubles(const double *x, double *results, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    double v = x[i];
    double *r = results + i * 10;
    r[0] = sqrt(v);
    r[1] = exp(-v);
    r[2] = log(v);
    r[3] = sin(v) * cos(v);
    r[4] = pow(v, 1.75);
    r[5] = 1.0 / v;
    r[6] = fma(v, v, 1.0);
    r[7] = floor(v) + ceil(v) + rint(v) + trunc(-v);
    r[8] = tanh(v) + atan2(v, 2.0) + erf(v / 4);
    r[9] = fmod(v, 0.7) + cbrt(v) + hypot(v, 3.0);
}

__global__ void floats(const float *x, float *results, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    float v = x[i];
    float *r = results + i * 6;
    r[0] = sqrtf(v) + rsqrtf(v);
    r[1] = expf(-v);
    r[2] = logf(v) + log2f(v);
    r[3] = sinf(v) * cosf(v);
    r[4] = powf(v, 1.75f);
    r[5] = __expf(-v) + __fdividef(v, 3.0f) + __saturatef(v);
}

__global__ void halves(const __half *x, const __half *y, __half *results, float *widened, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    results[i * 4] = __hadd(x[i], y[i]);
    results[i * 4 + 1] = __hmul(x[i], y[i]);
    results[i * 4 + 2] = __hfma(x[i], y[i], x[i]);
    results[i * 4 + 3] = __hgt(x[i], y[i]) ? x[i] : y[i];
    __half2 pair = __halves2half2(x[i], y[i]);
    pair = __hadd2(pair, pair);
    widened[i] = __low2float(pair) - __high2float(pair);
}

int main() {
    const int count = 200;
    Random random;
    std::vector<double> x(count), expected(count * 10);
    std::vector<float> single(count), singleExpected(count * 6);
    for (int i = 0; i < count; i++) {
        double v = x[i] = 0.01 + 12 * random.unit();
        double *r = &expected[i * 10];
        r[0] = std::sqrt(v);
        r[1] = std::exp(-v);
        r[2] = std::log(v);
        r[3] = std::sin(v) * std::cos(v);
        r[4] = std::pow(v, 1.75);
        r[5] = 1.0 / v;
        r[6] = std::fma(v, v, 1.0);
        r[7] = std::floor(v) + std::ceil(v) + std::rint(v) + std::trunc(-v);
        r[8] = std::tanh(v) + std::atan2(v, 2.0) + std::erf(v / 4);
        r[9] = std::fmod(v, 0.7) + std::cbrt(v) + std::hypot(v, 3.0);
        double f = single[i] = (float)v;
        float *s = &singleExpected[i * 6];
        s[0] = (float)(std::sqrt(f) + 1 / std::sqrt(f));
        s[1] = (float)std::exp(-f);
        s[2] = (float)(std::log(f) + std::log2(f));
        s[3] = (float)(std::sin(f) * std::cos(f));
        s[4] = (float)std::pow(f, 1.75);
        s[5] = (float)(std::exp(-f) + f / 3 + (f > 1 ? 1 : f));
    }
    DeviceArray<double> deviceX(x), results(count * 10);
    doubles<<<(count + 63) / 64, 64>>>(deviceX.data, results.data, count);
    DeviceArray<float> deviceSingle(single), singleResults(count * 6);
    floats<<<(count + 63) / 64, 64>>>(deviceSingle.data, singleResults.data, count);
    CHECK(cudaGetLastError());
    expectClose(results.download(), expected, 1e-14, "double");
    expectClose(singleResults.download(), singleExpected, 2e-6, "float");

    std::vector<__half> a(count), b(count);
    std::vector<float> expectedHalf(count * 4), expectedWide(count), foundHalf(count * 4);
    for (int i = 0; i < count; i++) {
        a[i] = __float2half(random.unit() * 8 - 4);
        b[i] = __float2half(random.unit() * 8 - 4);
        float fa = __half2float(a[i]), fb = __half2float(b[i]);
        expectedHalf[i * 4] = __half2float(__float2half(fa + fb));
        expectedHalf[i * 4 + 1] = __half2float(__float2half(fa * fb));
        expectedHalf[i * 4 + 2] = __half2float(__double2half((double)fa * fb + fa));
        expectedHalf[i * 4 + 3] = fa > fb ? fa : fb;
        expectedWide[i] = fa * 2 - fb * 2;
    }
    DeviceArray<__half> deviceA(a), deviceB(b), halfResults(count * 4);
    DeviceArray<float> widened(count);
    halves<<<(count + 63) / 64, 64>>>(deviceA.data, deviceB.data, halfResults.data, widened.data, count);
    CHECK(cudaGetLastError());
    std::vector<__half> found = halfResults.download();
    for (int i = 0; i < count * 4; i++) foundHalf[i] = __half2float(found[i]);
    expectEqual(foundHalf, expectedHalf, "half");
    expectEqual(widened.download(), expectedWide, "half2");
    return succeed("precision");
}

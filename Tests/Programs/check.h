// SPDX-License-Identifier: Apache-2.0
// What every test program shares: failing with a place and a reason, comparing with the CPU, and the closing line.
#pragma once
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

/// Ends the program with status 1 when a runtime call does not succeed.
#define CHECK(call)                                                                                          \
    do {                                                                                                     \
        cudaError_t check_status = (call);                                                                   \
        if (check_status != cudaSuccess) {                                                                   \
            std::fprintf(stderr, "%s:%d: %s: %s (%d)\n", __FILE__, __LINE__, #call,                          \
                         cudaGetErrorString(check_status), (int)check_status);                               \
            std::exit(1);                                                                                    \
        }                                                                                                    \
    } while (0)

/// Ends the program with status 1 when a condition the program promises does not hold.
#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                   \
            std::exit(1);                                                                                    \
        }                                                                                                    \
    } while (0)

/// Ends the program with status 1 when a call does not fail with exactly this error.
#define EXPECT_ERROR(error, call)                                                                            \
    do {                                                                                                     \
        cudaError_t expect_status = (call);                                                                  \
        if (expect_status != (error)) {                                                                      \
            std::fprintf(stderr, "%s:%d: %s: expected %s, got %s (%d)\n", __FILE__, __LINE__, #call,         \
                         cudaGetErrorName(error), cudaGetErrorName(expect_status), (int)expect_status);      \
            std::exit(1);                                                                                    \
        }                                                                                                    \
    } while (0)

/// Says that all went well; the program returns what this returns.
inline int succeed(const char *name) {
    std::printf("ok %s\n", name);
    return std::fflush(stdout) == 0 ? 0 : 1;
}

/// Compares element by element, within a relative error; names the first that differs.
template <typename T>
void expectClose(const std::vector<T> &found, const std::vector<T> &expected, double relative, const char *what) {
    EXPECT(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); i++) {
        double f = (double)found[i], e = (double)expected[i];
        // Written so that a NaN is a difference.
        if (!(std::fabs(f - e) <= relative * std::fmax(1.0, std::fabs(e)))) {
            std::fprintf(stderr, "%s[%zu]: found %.9g, expected %.9g\n", what, i, f, e);
            std::exit(1);
        }
    }
}

template <typename T>
void expectEqual(const std::vector<T> &found, const std::vector<T> &expected, const char *what) {
    expectClose(found, expected, 0.0, what);
}

/// A small deterministic generator, so that a run is the same everywhere.
struct Random {
    unsigned state = 12345;
    unsigned next() {
        state = state * 1664525u + 1013904223u;
        return state >> 8;
    }
    /// In 0 ..< 1.
    float unit() { return (float)(next() & 0xffff) / 65536.0f; }
};

/// Device memory of a number of elements, freed at the end of the scope.
template <typename T> struct DeviceArray {
    T *data = nullptr;
    size_t count;
    explicit DeviceArray(size_t count) : count(count) { CHECK(cudaMalloc((void **)&data, count * sizeof(T))); }
    explicit DeviceArray(const std::vector<T> &host) : DeviceArray(host.size()) { upload(host); }
    DeviceArray(const DeviceArray &) = delete;
    DeviceArray &operator=(const DeviceArray &) = delete;
    ~DeviceArray() { cudaFree(data); }
    void upload(const std::vector<T> &host) {
        EXPECT(host.size() <= count);
        CHECK(cudaMemcpy(data, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    }
    std::vector<T> download() const {
        std::vector<T> host(count);
        CHECK(cudaMemcpy(host.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost));
        return host;
    }
};

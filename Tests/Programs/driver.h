// SPDX-License-Identifier: Apache-2.0
// The driver API for test programs: found by name in libcuda.so.1, which programs that are built without a GPU cannot be
// linked with.
#pragma once
#include <cuda.h>
#include <dlfcn.h>

#include "check.h"

// Looks a function up under the name cuda.h maps it to, such as cuMemAlloc_v2.
#define TEXT_OF(name) #name
#define EXPANDED(name) TEXT_OF(name)
#define DRIVER(name) ((decltype(&name))findDriverFunction(EXPANDED(name)))

/// Ends the program with status 1 when a driver call does not succeed.
#define OK(name, ...) expectResult(CUDA_SUCCESS, DRIVER(name)(__VA_ARGS__), #name, __FILE__, __LINE__)
/// Ends the program with status 1 when a driver call does not fail with exactly this error.
#define FAILS(error, name, ...) expectResult(error, DRIVER(name)(__VA_ARGS__), #name, __FILE__, __LINE__)

static inline void *findDriverFunction(const char *name) {
    static void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    void *function = driver ? dlsym(driver, name) : nullptr;
    if (!function) {
        std::fprintf(stderr, "libcuda.so.1 has no %s\n", name);
        std::exit(1);
    }
    return function;
}

static inline void expectResult(CUresult expected, CUresult found, const char *name, const char *file, int line) {
    if (found == expected) return;
    const char *text = "?";
    DRIVER(cuGetErrorName)(found, &text);
    std::fprintf(stderr, "%s:%d: %s: %s (%d), expected %d\n", file, line, name, text, (int)found, (int)expected);
    std::exit(1);
}

// SPDX-License-Identifier: Apache-2.0
// glibc 2.35 gave hypotf a new version, and Swift's static library refers to hypotf: one linked there asks for glibc
// 2.35. With this one the client runs on glibc 2.34.
#include <math.h>

__attribute__((visibility("hidden"))) float hypotf(float x, float y) {
    if (isinf(x) || isinf(y)) return INFINITY;
    // The squares are exact in double and cannot overflow.
    return (float)sqrt((double)x * x + (double)y * y);
}

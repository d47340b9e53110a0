// SPDX-License-Identifier: Apache-2.0
// Rounding modes other than to nearest, conversions to half precision, and the special functions.
#include <fenv.h>
#include <math.h>
#include <string.h>

#include "softgpu.h"

// The rounding mode must be changed at run time: nothing here may be computed by the compiler or moved across.
#pragma STDC FENV_ACCESS ON

static const int modes[4] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

#define ROUNDED(type, expression)            \
    do {                                     \
        if (mode == 0) return (expression);  \
        fesetround(modes[mode & 3]);         \
        volatile type result = (expression); \
        fesetround(FE_TONEAREST);            \
        return result;                       \
    } while (0)

float sg_add_f32(float x, float y, uint32_t mode) { volatile float a = x, b = y; ROUNDED(float, a + b); }
float sg_mul_f32(float x, float y, uint32_t mode) { volatile float a = x, b = y; ROUNDED(float, a * b); }
float sg_div_f32(float x, float y, uint32_t mode) { volatile float a = x, b = y; ROUNDED(float, a / b); }
float sg_fma_f32(float x, float y, float z, uint32_t mode) {
    volatile float a = x, b = y, c = z;
    ROUNDED(float, fmaf(a, b, c));
}
float sg_sqrt_f32(float x, uint32_t mode) { volatile float a = x; ROUNDED(float, sqrtf(a)); }
double sg_add_f64(double x, double y, uint32_t mode) { volatile double a = x, b = y; ROUNDED(double, a + b); }
double sg_mul_f64(double x, double y, uint32_t mode) { volatile double a = x, b = y; ROUNDED(double, a * b); }
double sg_div_f64(double x, double y, uint32_t mode) { volatile double a = x, b = y; ROUNDED(double, a / b); }
double sg_fma_f64(double x, double y, double z, uint32_t mode) {
    volatile double a = x, b = y, c = z;
    ROUNDED(double, fma(a, b, c));
}
double sg_sqrt_f64(double x, uint32_t mode) { volatile double a = x; ROUNDED(double, sqrt(a)); }
float sg_f64_to_f32(double x, uint32_t mode) { volatile double a = x; ROUNDED(float, (float)a); }
float sg_s64_to_f32(int64_t x, uint32_t mode) { volatile int64_t a = x; ROUNDED(float, (float)a); }
double sg_s64_to_f64(int64_t x, uint32_t mode) { volatile int64_t a = x; ROUNDED(double, (double)a); }

// x86 converts signed integers only: a number with its top bit set is halved, keeping what is lost as a sticky bit.
float sg_u64_to_f32(uint64_t a, uint32_t mode) {
    if ((int64_t)a >= 0) return sg_s64_to_f32((int64_t)a, mode);
    return sg_s64_to_f32((int64_t)(a >> 1 | (a & 1)), mode) * 2.0f;
}

double sg_u64_to_f64(uint64_t a, uint32_t mode) {
    if ((int64_t)a >= 0) return sg_s64_to_f64((int64_t)a, mode);
    return sg_s64_to_f64((int64_t)(a >> 1 | (a & 1)), mode) * 2.0;
}

// Rounds a double to a 16-bit format with `fraction` explicit bits and exponents from `exponent_min` (of normal
// numbers) to `exponent_max`.
static uint16_t narrow(double value, int fraction, int exponent_min, int exponent_max, uint32_t mode) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    const uint16_t sign = (uint16_t)(bits >> 48 & 0x8000);
    const uint16_t infinity = (uint16_t)((exponent_max - exponent_min + 2) << fraction);
    const int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    uint64_t significand = bits & ((1ull << 52) - 1);
    if (exponent == 1024) return significand ? 0x7fff : sign | infinity;
    if (exponent == -1023) {
        if (!significand) return sign;
        // A denormal double is far below the smallest number of either format: only its being there matters.
        return sign | (((mode == 2 && sign) || (mode == 3 && !sign)) ? 1 : 0);
    }
    significand |= 1ull << 52;
    int shift = 52 - fraction;
    if (exponent < exponent_min) shift += exponent_min - exponent;
    uint64_t kept, lost, half;
    if (shift > 54) {
        kept = 0;
        lost = 1;
        half = 2;
    } else {
        kept = significand >> shift;
        lost = significand & ((1ull << shift) - 1);
        half = 1ull << (shift - 1);
    }
    int up = 0;
    if (mode == 0) up = lost > half || (lost == half && (kept & 1));
    if (mode == 2) up = lost && sign;
    if (mode == 3) up = lost && !sign;
    kept += (uint64_t)up;
    // The hidden bit, where there is one, carries into the exponent by itself.
    uint64_t result = exponent < exponent_min ? kept : kept + ((uint64_t)(exponent - exponent_min) << fraction);
    if (result >= infinity) {
        const int saturates = mode == 1 || (mode == 2 && !sign) || (mode == 3 && sign);
        result = saturates ? infinity - 1u : infinity;
    }
    return sign | (uint16_t)result;
}

uint16_t sg_f64_to_f16(double a, uint32_t mode) { return narrow(a, 10, -14, 15, mode); }
uint16_t sg_f64_to_bf16(double a, uint32_t mode) { return narrow(a, 7, -126, 127, mode); }

float sg_f16_to_f32(uint16_t a) {
    const uint32_t sign = (uint32_t)(a & 0x8000) << 16;
    const uint32_t exponent = a >> 10 & 31, fraction = a & 1023;
    uint32_t bits;
    float result;
    if (exponent == 0) {
        result = (float)fraction * 0x1p-24f;
        return sign ? -result : result;
    }
    bits = exponent == 31 ? 0x7f800000 | fraction << 13 : (exponent + 112) << 23 | fraction << 13;
    bits |= sign;
    memcpy(&result, &bits, 4);
    return result;
}

float sg_sin(float a) { return sinf(a); }
float sg_cos(float a) { return cosf(a); }
float sg_ex2(float a) { return exp2f(a); }
float sg_lg2(float a) { return log2f(a); }
float sg_tanh(float a) { return tanhf(a); }

uint32_t sg_fns(uint32_t mask, uint32_t base, int32_t offset) {
    int32_t position = (int32_t)(base & 31), count = offset < 0 ? -offset : offset;
    if (offset == 0) return mask >> position & 1 ? (uint32_t)position : ~0u;
    for (const int step = offset < 0 ? -1 : 1; position >= 0 && position < 32; position += step) {
        if ((mask >> position & 1) && --count == 0) return (uint32_t)position;
    }
    return ~0u;
}

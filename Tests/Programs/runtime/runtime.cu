// SPDX-License-Identifier: Apache-2.0
// The whole program in one translation unit, for nvcc and the runtime of the same version.
#include "kernels.cu"
// The host half takes the kernels' and variables' names from above.
#define RUNTIME_HAS_KERNELS
#include "runtime.cpp"

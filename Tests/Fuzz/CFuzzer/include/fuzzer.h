// SPDX-License-Identifier: Apache-2.0
// libFuzzer's entry for programs that have a main function of their own.
#pragma once
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(int *count, char ***arguments, int (*run)(const uint8_t *bytes, size_t count));

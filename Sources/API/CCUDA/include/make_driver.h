// SPDX-License-Identifier: Apache-2.0
// The one symbol that a program linking the exports supplies: which driver they stand on.
#pragma once
#include <stdint.h>

/// Makes the driver that the exported functions use: a retained `DriverSource` of the module Shim.
/// Returns NULL and sets `*error` to a CUresult when there is none; it has then told the user why, on standard error.
void *bitfusion_make_driver(int32_t *error);

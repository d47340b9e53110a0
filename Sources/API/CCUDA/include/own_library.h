// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The `dlopen` handle of the library or program that this code is linked into, whatever its path and whoever loaded it.
/// NULL if the loader does not know it.
void *bitfusion_own_library(void);

// SPDX-License-Identifier: Apache-2.0
// What each libnvidia-ml.so.1 that is linked from ManagementShim defines: where its answers come from.
#pragma once

/// Makes the source of the library: a retained reference to a `ManagementSourceBox`. NULL and a result code when there
/// is none.
void *bitfusion_make_management(unsigned int *error);

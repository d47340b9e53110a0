#include "softgpu.h"

// The two compressions that fat binaries use.
#include <lz4.h>
#include <zstd.h>

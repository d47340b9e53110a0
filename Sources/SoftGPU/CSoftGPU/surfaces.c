// SPDX-License-Identifier: Apache-2.0
// Reads, writes and reductions of surfaces (PTX ISA, "Surface Instructions").
#include <string.h>

#include "internal.h"

static int64_t clamped(int64_t value, int64_t last) { return value < 0 ? 0 : value > last ? last : value; }

// Where an access of so many bytes goes; null where nothing is to be done. A kernel that traps ends here.
static char *locate(struct sg_block *block, uint64_t handle, uint32_t form, const uint32_t *coordinates,
                    const struct sg_image **found, uint64_t bytes) {
    const struct sg_image *image = sg_image_find(handle, 1);
    if (!image) sg_trap(block, SG_ILLEGAL_ADDRESS);
    *found = image;
    const uint32_t geometry = form & SG_FORM_GEOMETRY;
    const struct sg_level *level = &image->levels[0];
    const int64_t unit = form & SG_FORM_FORMATTED ? image->element_bytes : 1;
    const int64_t row = (int64_t)level->width * image->element_bytes;
    int64_t x = (int64_t)(int32_t)coordinates[SG_X] * unit, y = 0, slice = 0;
    int64_t rows = 1, slices = 1;
    if (geometry != SG_1D && geometry != SG_A1D) y = (int32_t)coordinates[SG_Y], rows = level->height;
    if (geometry == SG_3D) slice = (int32_t)coordinates[SG_Z], slices = level->depth;
    if (geometry == SG_A1D || geometry == SG_A2D)
        slice = (int32_t)coordinates[SG_LAYER], slices = image->layers > 0 ? image->layers : 1;
    if ((int64_t)bytes > row) sg_trap(block, SG_TRAPPED);
    const int is_inside = x >= 0 && x <= row - (int64_t)bytes && y >= 0 && y < rows && slice >= 0 && slice < slices;
    if (!is_inside) {
        if (form & SG_FORM_ZERO) return NULL;
        if (!(form & SG_FORM_CLAMP)) sg_trap(block, SG_TRAPPED);
        x = clamped(x, row - (int64_t)bytes);
        y = clamped(y, rows - 1);
        slice = clamped(slice, slices - 1);
    }
    x -= x % (int64_t)bytes;
    return level->data + (uint64_t)slice * level->slice_bytes + (uint64_t)y * level->row_bytes + (uint64_t)x;
}

static uint64_t access_bytes(uint32_t form) { return form >> SG_FORM_BYTES_SHIFT & 31; }

void sg_surface_read(struct sg_block *block, uint64_t handle, uint32_t form, const uint32_t *coordinates,
                     void *target) {
    const struct sg_image *image;
    const uint64_t bytes = access_bytes(form);
    const char *source = locate(block, handle, form, coordinates, &image, bytes);
    if (source)
        memcpy(target, source, bytes);
    else
        memset(target, 0, bytes);
}

static float unit(float value, float least) {
    return value < least ? least : value > 1 ? 1 : value == value ? value : 0;
}

static int32_t nearest(float value) { return (int32_t)(value < 0 ? value - 0.5f : value + 0.5f); }

// One component in the surface's own format.
static void encode(const struct sg_image *image, char *element, uint32_t c, uint32_t word) {
    float value;
    memcpy(&value, &word, sizeof value);
    const int is_fraction = image->is_normalized != 0;
    switch (image->channel) {
    case SG_U8: {
        const uint32_t bits = is_fraction ? (uint32_t)nearest(unit(value, 0) * 255) : word;
        ((uint8_t *)element)[c] = (uint8_t)bits;
        break;
    }
    case SG_S8: {
        const int32_t bits = is_fraction ? nearest(unit(value, -1) * 127) : (int32_t)word;
        ((int8_t *)element)[c] = (int8_t)bits;
        break;
    }
    case SG_U16: {
        const uint16_t bits = (uint16_t)(is_fraction ? (uint32_t)nearest(unit(value, 0) * 65535) : word);
        memcpy(element + 2 * c, &bits, sizeof bits);
        break;
    }
    case SG_S16: {
        const int16_t bits = (int16_t)(is_fraction ? nearest(unit(value, -1) * 32767) : (int32_t)word);
        memcpy(element + 2 * c, &bits, sizeof bits);
        break;
    }
    case SG_F16: {
        const uint16_t bits = sg_f64_to_f16(value, 0);
        memcpy(element + 2 * c, &bits, sizeof bits);
        break;
    }
    default: memcpy(element + 4 * c, &word, sizeof word);
    }
}

void sg_surface_write(struct sg_block *block, uint64_t handle, uint32_t form, const uint32_t *coordinates,
                      const void *source) {
    const struct sg_image *image = sg_image_find(handle, 1);
    if (!image) sg_trap(block, SG_ILLEGAL_ADDRESS);
    const int is_formatted = (form & SG_FORM_FORMATTED) != 0;
    const uint64_t bytes = is_formatted ? image->element_bytes : access_bytes(form);
    char *target = locate(block, handle, form, coordinates, &image, bytes);
    if (!target) return;
    if (!is_formatted) {
        memcpy(target, source, bytes);
        return;
    }
    const uint32_t parts = form >> SG_FORM_PARTS_SHIFT & 7;
    for (uint32_t c = 0; c < image->channels && c < parts; c++) {
        uint32_t word;
        memcpy(&word, (const char *)source + 4 * c, sizeof word);
        encode(image, target, c, word);
    }
}

static uint64_t reduced(uint32_t operation, uint64_t a, uint64_t b) {
    switch (operation) {
    case SG_REDUX_ADD: return a + b;
    case SG_REDUX_AND: return a & b;
    case SG_REDUX_OR: return a | b;
    case SG_REDUX_XOR: return a ^ b;
    case SG_REDUX_MIN_U: return a < b ? a : b;
    case SG_REDUX_MAX_U: return a > b ? a : b;
    case SG_REDUX_MIN_S: return (int64_t)a < (int64_t)b ? a : b;
    default: return (int64_t)a > (int64_t)b ? a : b;
    }
}

static uint64_t widened(uint32_t value, int is_signed) {
    return is_signed ? (uint64_t)(int64_t)(int32_t)value : value;
}

void sg_surface_reduce(struct sg_block *block, uint64_t handle, uint32_t form, const uint32_t *coordinates,
                       const void *source) {
    const struct sg_image *image;
    const uint64_t bytes = access_bytes(form);
    char *target = locate(block, handle, form, coordinates, &image, bytes);
    if (!target) return;
    const uint32_t operation = form >> SG_FORM_OPERATION_SHIFT & 7;
    const int is_signed = (form & SG_FORM_SIGNED) != 0;
    if (bytes == 8) {
        uint64_t operand, *place = (uint64_t *)(void *)target;
        memcpy(&operand, source, sizeof operand);
        uint64_t before = __atomic_load_n(place, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(place, &before, reduced(operation, before, operand), 0, __ATOMIC_RELAXED,
                                            __ATOMIC_RELAXED)) {
        }
        return;
    }
    uint32_t operand, *place = (uint32_t *)(void *)target;
    memcpy(&operand, source, sizeof operand);
    uint32_t before = __atomic_load_n(place, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(
        place, &before,
        (uint32_t)reduced(operation, widened(before, is_signed), widened(operand, is_signed)), 0, __ATOMIC_RELAXED,
        __ATOMIC_RELAXED)) {
    }
}

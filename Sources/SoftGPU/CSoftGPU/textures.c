// SPDX-License-Identifier: Apache-2.0
// Reads of textures, as the CUDA programming guide's appendix "Texture Fetching" and the PTX ISA define them: which
// elements, with which weights.
#include <math.h>
#include <string.h>

#include "internal.h"

// One element as four components: fractions and floats as float, integers that are read as they are as their bits.
struct texel {
    union {
        float f[4];
        uint32_t u[4];
    };
};

// How one coordinate falls on the elements: one, or two with the weight of the second. -1 is the border.
struct axis {
    int first, second;
    float weight;
};

static int is_raw(const struct sg_image *image) {
    if (image->is_normalized || image->channel >= SG_F16) return 0;
    return image->channel == SG_U32 || image->channel == SG_S32 || (image->flags & SG_READ_AS_INTEGER);
}

static float from_srgb(float value) {
    return value <= 0.04045f ? value / 12.92f : powf((value + 0.055f) / 1.055f, 2.4f);
}

static float signed_fraction(int value, int largest) {
    const float fraction = (float)value / (float)largest;
    return fraction < -1 ? -1 : fraction;
}

static float fraction(const struct sg_image *image, const char *element, uint32_t c) {
    switch (image->channel) {
    case SG_U8: {
        const float value = (float)((const uint8_t *)element)[c] / 255.0f;
        return (image->flags & SG_SRGB) && c < 3 ? from_srgb(value) : value;
    }
    case SG_U16: return (float)((const uint16_t *)(const void *)element)[c] / 65535.0f;
    case SG_S8: return signed_fraction(((const int8_t *)element)[c], 127);
    case SG_S16: return signed_fraction(((const int16_t *)(const void *)element)[c], 32767);
    case SG_F16: return sg_f16_to_f32(((const uint16_t *)(const void *)element)[c]);
    default: return ((const float *)(const void *)element)[c];
    }
}

static uint32_t bits(const struct sg_image *image, const char *element, uint32_t c) {
    switch (image->channel) {
    case SG_U8: return ((const uint8_t *)element)[c];
    case SG_U16: return ((const uint16_t *)(const void *)element)[c];
    case SG_S8: return (uint32_t)((const int8_t *)element)[c];
    case SG_S16: return (uint32_t)((const int16_t *)(const void *)element)[c];
    default: return ((const uint32_t *)(const void *)element)[c];
    }
}

static struct texel decode(const struct sg_image *image, const char *element) {
    // Components that the format lacks.
    struct texel texel = {.f = {0, 0, 0, 1}};
    const int raw = is_raw(image);
    if (raw) texel.u[3] = 1;
    for (uint32_t c = 0; c < image->channels; c++) {
        if (raw)
            texel.u[c] = bits(image, element, c);
        else
            texel.f[c] = fraction(image, element, c);
    }
    return texel;
}

static struct texel border(const struct sg_image *image) {
    struct texel texel;
    memcpy(texel.f, image->border, sizeof texel.f);
    return texel;
}

// The element at a place that is inside the level, or -1 in a dimension for the border.
static struct texel element(const struct sg_image *image, const struct sg_level *level, int x, int y, int slice) {
    if (x < 0 || y < 0 || slice < 0) return border(image);
    const char *row = level->data + (uint64_t)slice * level->slice_bytes + (uint64_t)y * level->row_bytes;
    return decode(image, row + (uint64_t)x * image->element_bytes);
}

static int to_int(float value) {
    // Beyond this no texture has elements; NaN is 0.
    if (!(value > -1e9f)) return value <= -1e9f ? -1000000000 : 0;
    return value > 1e9f ? 1000000000 : (int)value;
}

static int resolve(int index, int count, uint32_t mode) {
    if (index >= 0 && index < count) return index;
    switch (mode) {
    case SG_ADDRESS_WRAP: return ((index % count) + count) % count;
    case SG_ADDRESS_BORDER: return -1;
    default: return index < 0 ? 0 : count - 1;
    }
}

// Weights have 8 bits of fraction, and 1 is one of them.
static float quantized(float weight) { return floorf(weight * 256.0f + 0.5f) / 256.0f; }

static struct axis along(float x, uint32_t size, uint32_t mode, int is_normalized, int is_filtered) {
    const int count = (int)size;
    if (!is_normalized) {
        // Wrapping and mirroring are defined for normalised coordinates only.
        if (mode == SG_ADDRESS_WRAP || mode == SG_ADDRESS_MIRROR) mode = SG_ADDRESS_CLAMP;
    } else {
        const float whole = floorf(x);
        if (mode == SG_ADDRESS_WRAP) x -= whole;
        if (mode == SG_ADDRESS_MIRROR) {
            const int is_odd = fabsf(fmodf(whole, 2.0f)) == 1.0f;
            x = is_odd ? 1.0f - (x - whole) : x - whole;
        }
        x *= (float)count;
    }
    if (!is_filtered) {
        const int index = resolve(to_int(floorf(x)), count, mode);
        return (struct axis){index, index, 0};
    }
    const float shifted = x - 0.5f;
    const float low = floorf(shifted);
    const int index = to_int(low);
    const float rest = shifted - low;
    return (struct axis){
        resolve(index, count, mode), resolve(index + 1, count, mode), rest >= 0 && rest <= 1 ? quantized(rest) : 0};
}

static void add(struct texel *sum, struct texel texel, float weight) {
    for (int c = 0; c < 4; c++) sum->f[c] += weight * texel.f[c];
}

// The weighted mean of up to eight elements; what weighs nothing is not read.
static struct texel filtered(const struct sg_image *image, const struct sg_level *level, struct axis x, struct axis y,
                             struct axis z) {
    struct texel sum = {.f = {0, 0, 0, 0}};
    for (int k = 0; k < 2; k++) {
        const float wz = k ? z.weight : 1 - z.weight;
        for (int j = 0; j < 2; j++) {
            const float wy = j ? y.weight : 1 - y.weight;
            for (int i = 0; i < 2; i++) {
                const float weight = (i ? x.weight : 1 - x.weight) * wy * wz;
                if (weight == 0) continue;
                add(&sum, element(image, level, i ? x.second : x.first, j ? y.second : y.first, k ? z.second : z.first),
                    weight);
            }
        }
    }
    return sum;
}

struct place {
    float x, y, z;
    int layer;
    int face;  // -1 unless in a cube.
};

// The face of a cube that a direction meets, and where, from 0 to 1 (programming guide, "Cubemap Textures").
static int project(float x, float y, float z, float *s, float *t) {
    const float ax = fabsf(x), ay = fabsf(y), az = fabsf(z);
    int face;
    float m, u, v;
    if (ax >= ay && ax >= az) {
        face = x >= 0 ? 0 : 1;
        m = ax, u = x >= 0 ? -z : z, v = -y;
    } else if (ay >= az) {
        face = y >= 0 ? 2 : 3;
        m = ay, u = x, v = y >= 0 ? z : -z;
    } else {
        face = z >= 0 ? 4 : 5;
        m = az, u = z >= 0 ? x : -x, v = -y;
    }
    *s = m > 0 ? (u / m + 1) / 2 : 0.5f;
    *t = m > 0 ? (v / m + 1) / 2 : 0.5f;
    return face;
}

// The element of a cube next to a face: where the direction beyond the edge meets the neighbour.
static struct texel across_edge(const struct sg_image *image, const struct sg_level *level, int layer, int face, int i,
                                int j) {
    const float size = (float)level->width;
    const float u = 2 * ((float)i + 0.5f) / size - 1, v = 2 * ((float)j + 0.5f) / size - 1;
    const float directions[6][3] = {{1, -v, -u}, {-1, -v, u}, {u, 1, v}, {u, -1, -v}, {u, -v, 1}, {-u, -v, -1}};
    float s, t;
    const int met = project(directions[face][0], directions[face][1], directions[face][2], &s, &t);
    return element(image, level, resolve(to_int(floorf(s * size)), (int)level->width, SG_ADDRESS_CLAMP),
                   resolve(to_int(floorf(t * size)), (int)level->height, SG_ADDRESS_CLAMP), layer + met);
}

static struct texel seamless(const struct sg_image *image, const struct sg_level *level, struct place place) {
    const float x = place.x * (float)level->width - 0.5f, y = place.y * (float)level->height - 0.5f;
    const int i = to_int(floorf(x)), j = to_int(floorf(y));
    const float a = quantized(x - floorf(x)), b = quantized(y - floorf(y));
    struct texel sum = {.f = {0, 0, 0, 0}};
    for (int n = 0; n < 4; n++) {
        const int dx = n & 1, dy = n >> 1;
        const float weight = (dx ? a : 1 - a) * (dy ? b : 1 - b);
        if (weight != 0) add(&sum, across_edge(image, level, place.layer, place.face, i + dx, j + dy), weight);
    }
    return sum;
}

static struct texel sample(const struct sg_image *image, const struct sg_level *level, struct place place,
                           uint32_t geometry) {
    const int is_normalized = (image->flags & SG_NORMALIZED_COORDINATES) || place.face >= 0;
    const int is_filtered = image->filter == 1 && !is_raw(image);
    if (place.face >= 0 && is_filtered && (image->flags & SG_SEAMLESS_CUBE)) return seamless(image, level, place);
    // The faces of a cube do not continue each other.
    const uint32_t mode = place.face >= 0 ? SG_ADDRESS_CLAMP : image->address[0];
    const uint32_t mode_y = place.face >= 0 ? SG_ADDRESS_CLAMP : image->address[1];
    const struct axis x = along(place.x, level->width, mode, is_normalized, is_filtered);
    struct axis y = {0, 0, 0}, z = {0, 0, 0};
    if (geometry != SG_1D && geometry != SG_A1D)
        y = along(place.y, level->height, mode_y, is_normalized, is_filtered);
    if (geometry == SG_3D)
        z = along(place.z, level->depth, image->address[2], is_normalized, is_filtered);
    else
        z.first = z.second = place.layer + (place.face >= 0 ? place.face : 0);
    if (!is_filtered) return element(image, level, x.first, y.first, z.first);
    return filtered(image, level, x, y, z);
}

// The element with these numbers, without a sampler's coordinates. Memory that is read by number ends with zeros.
static struct texel fetch(const struct sg_image *image, const struct sg_level *level, const int32_t index[3], int layer,
                          uint32_t geometry) {
    if (image->is_linear && (index[0] < 0 || (uint32_t)index[0] >= level->width))
        return (struct texel){.u = {0, 0, 0, 0}};
    uint32_t mode[3];
    for (int i = 0; i < 3; i++)
        mode[i] = image->address[i] == SG_ADDRESS_BORDER ? SG_ADDRESS_BORDER : SG_ADDRESS_CLAMP;
    const int x = resolve(index[0], (int)level->width, mode[0]);
    const int y = geometry == SG_1D || geometry == SG_A1D ? 0 : resolve(index[1], (int)level->height, mode[1]);
    const int z = geometry == SG_3D ? resolve(index[2], (int)level->depth, mode[2]) : layer;
    return element(image, level, x, y, z);
}

// One component of the four elements that linear filtering would take, counter-clockwise from the lower left.
static struct texel gather(const struct sg_image *image, const struct sg_level *level, struct place place,
                           uint32_t component) {
    const int is_normalized = (image->flags & SG_NORMALIZED_COORDINATES) || place.face >= 0;
    const struct axis x = along(place.x, level->width, image->address[0], is_normalized, 1);
    const struct axis y = along(place.y, level->height, image->address[1], is_normalized, 1);
    const int z = place.layer + (place.face >= 0 ? place.face : 0);
    struct texel result;
    result.u[0] = element(image, level, x.first, y.second, z).u[component];
    result.u[1] = element(image, level, x.second, y.second, z).u[component];
    result.u[2] = element(image, level, x.second, y.first, z).u[component];
    result.u[3] = element(image, level, x.first, y.first, z).u[component];
    return result;
}

static float real(uint32_t word) {
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

// The level that a read asks for: given, from the derivatives, or the first.
static float level_of(const struct sg_image *image, uint32_t form, const uint32_t *coordinates) {
    float level = 0;
    if (form & SG_FORM_LEVEL) {
        level = form & SG_FORM_INTEGER ? (float)(int32_t)coordinates[SG_LEVEL] : real(coordinates[SG_LEVEL]);
    } else if (form & SG_FORM_GRADIENT) {
        const struct sg_level *base = &image->levels[0];
        const float sizes[3] = {(float)base->width, (float)base->height, (float)base->depth};
        float dx = 0, dy = 0;
        for (int i = 0; i < 3; i++) {
            const float size = image->flags & SG_NORMALIZED_COORDINATES ? sizes[i] : 1;
            const float a = real(coordinates[SG_DX + i]) * size, b = real(coordinates[SG_DY + i]) * size;
            dx += a * a;
            dy += b * b;
        }
        level = 0.5f * log2f(fmaxf(dx, dy));
    }
    level += image->level_bias;
    // A NaN is the first level.
    level = fminf(fmaxf(level, image->level_min), image->level_max);
    return fminf(fmaxf(level, 0), (float)(image->level_count - 1));
}

static struct place place_of(const struct sg_image *image, uint32_t geometry, const uint32_t *coordinates) {
    struct place place = {real(coordinates[SG_X]), real(coordinates[SG_Y]), real(coordinates[SG_Z]), 0, -1};
    if (geometry >= SG_A1D && image->layers > 0) {
        const uint32_t per_layer = geometry >= SG_CUBE ? 6 : 1;
        const int32_t layer = geometry == SG_CUBE ? 0 : (int32_t)coordinates[SG_LAYER];
        const int32_t last = (int32_t)(image->layers / per_layer) - 1;
        place.layer = (layer < 0 ? 0 : layer > last ? last : layer) * (int)per_layer;
    }
    // A texture that has not six faces is read as the plane it is.
    if (geometry >= SG_CUBE) {
        float s, t;
        const int face = project(place.x, place.y, place.z, &s, &t);
        place.x = s, place.y = t, place.face = image->layers >= 6 ? face : 0;
    }
    return place;
}

static struct texel read_level(const struct sg_image *image, uint32_t number, uint32_t form,
                               const uint32_t *coordinates) {
    const struct sg_level *level = &image->levels[number];
    const uint32_t geometry = form & SG_FORM_GEOMETRY;
    const struct place place = place_of(image, geometry, coordinates);
    if (form & SG_FORM_GATHER) return gather(image, level, place, form >> SG_FORM_COMPONENT_SHIFT & 3);
    if (form & SG_FORM_INTEGER)
        return fetch(image, level, (const int32_t *)&coordinates[SG_X], place.layer, geometry);
    if (image->is_linear) {
        const int32_t index[3] = {to_int(floorf(place.x)), 0, 0};
        return fetch(image, level, index, 0, geometry);
    }
    return sample(image, level, place, geometry);
}

static uint32_t halves(float low, float high) {
    return (uint32_t)sg_f64_to_f16(low, 0) | (uint32_t)sg_f64_to_f16(high, 0) << 16;
}

void sg_texture_read(struct sg_block *block, uint64_t handle, uint32_t form, const uint32_t *coordinates,
                     uint32_t *result) {
    const struct sg_image *image = sg_image_find(handle, 0);
    if (!image) sg_trap(block, SG_ILLEGAL_ADDRESS);
    const float level = image->level_count > 1 ? level_of(image, form, coordinates) : 0;
    struct texel texel;
    const float low = floorf(level);
    const float weight = quantized(level - low);
    if (image->level_filter == 1 && weight > 0 && !is_raw(image)) {
        texel = (struct texel){.f = {0, 0, 0, 0}};
        add(&texel, read_level(image, (uint32_t)low, form, coordinates), 1 - weight);
        const uint32_t next = (uint32_t)low + 1;
        add(&texel, read_level(image, next < image->level_count ? next : (uint32_t)low, form, coordinates), weight);
    } else {
        texel = read_level(image, (uint32_t)floorf(level + 0.5f), form, coordinates);
    }
    if (form & SG_FORM_HALVES) {
        result[0] = halves(texel.f[0], texel.f[1]);
        result[1] = halves(texel.f[2], texel.f[3]);
        return;
    }
    memcpy(result, texel.u, sizeof texel.u);
}

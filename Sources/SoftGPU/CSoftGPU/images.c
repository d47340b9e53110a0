// SPDX-License-Identifier: Apache-2.0
// The texture and surface objects of the process, which kernels name by handles of 64 bits.
//
// Their places are in memory that is never given back, so that a kernel may come with any 64 bits, or with the handle
// of an object that has ended, and finds out.
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

// A handle is the tag, the generation of the place (24 bits), and the number of the place (24 bits). The tag makes it
// an address that no program has.
static const uint64_t HANDLE_TAG = 0x5347ull << 48;
enum { NUMBER_BITS = 24, GENERATION_MASK = 0xFFFFFF };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sg_image *images;  // SG_IMAGES_MAX places, once there is an object.
static uint32_t places_used;     // Places that have ever been used.
static uint32_t free_count;
static uint32_t free_hint;       // Where the search for a free place begins.

static int reserve(void) {
    if (images) return 1;
    void *memory = mmap(NULL, SG_IMAGES_MAX * sizeof(struct sg_image), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return 0;
    __atomic_store_n(&images, memory, __ATOMIC_RELEASE);
    return 1;
}

static uint32_t take_place(void) {
    if (free_count == 0) return places_used < SG_IMAGES_MAX ? places_used++ : SG_IMAGES_MAX;
    for (uint32_t i = 0; i < places_used; i++) {
        const uint32_t place = (free_hint + i) % places_used;
        if (images[place].handle) continue;
        free_hint = place + 1;
        free_count -= 1;
        return place;
    }
    return SG_IMAGES_MAX;
}

uint64_t sg_image_add(const struct sg_image *image) {
    uint64_t handle = 0;
    pthread_mutex_lock(&lock);
    const uint32_t place = reserve() ? take_place() : SG_IMAGES_MAX;
    if (place < SG_IMAGES_MAX) {
        struct sg_image *target = &images[place];
        const uint32_t generation = (target->generation + 1) & GENERATION_MASK;
        *target = *image;
        target->generation = generation;
        handle = HANDLE_TAG | (uint64_t)generation << NUMBER_BITS | place;
        __atomic_store_n(&target->handle, handle, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return handle;
}

const struct sg_image *sg_image_find(uint64_t handle, int is_surface) {
    const uint64_t place = handle & ((1u << NUMBER_BITS) - 1);
    const struct sg_image *all = __atomic_load_n(&images, __ATOMIC_ACQUIRE);
    if (!all || place >= SG_IMAGES_MAX || handle == 0) return NULL;
    const struct sg_image *image = &all[place];
    if (__atomic_load_n(&image->handle, __ATOMIC_ACQUIRE) != handle) return NULL;
    return image->is_surface == (uint32_t)is_surface ? image : NULL;
}

int sg_image_remove(uint64_t handle, int is_surface) {
    pthread_mutex_lock(&lock);
    struct sg_image *image = (struct sg_image *)sg_image_find(handle, is_surface);
    if (image) {
        __atomic_store_n(&image->handle, 0, __ATOMIC_RELEASE);
        free_count += 1;
    }
    pthread_mutex_unlock(&lock);
    return image != NULL;
}

// OpenCL's numbers, as PTX has them.
static uint32_t channel_type(const struct sg_image *image) {
    static const uint32_t types[] = {0x10DA, 0x10DB, 0x10DC, 0x10D7, 0x10D8, 0x10D9, 0x10DD, 0x10DE};
    static const uint32_t normalized[] = {0x10D2, 0x10D3, 0x10DC, 0x10D0, 0x10D1, 0x10D9, 0x10DD, 0x10DE};
    return (image->is_normalized ? normalized : types)[image->channel & 7];
}

uint32_t sg_image_query(struct sg_block *block, uint64_t handle, uint32_t is_surface, uint32_t query, uint32_t level) {
    const struct sg_image *image = sg_image_find(handle, (int)is_surface);
    if (!image) sg_trap(block, SG_ILLEGAL_ADDRESS);
    const struct sg_level *chosen = &image->levels[level < image->level_count ? level : image->level_count - 1];
    switch (query) {
    case SG_QUERY_WIDTH: return chosen->width;
    case SG_QUERY_HEIGHT: return chosen->height;
    case SG_QUERY_DEPTH: return chosen->depth;
    case SG_QUERY_CHANNEL_TYPE: return channel_type(image);
    case SG_QUERY_CHANNEL_ORDER: return image->channels == 1 ? 0x10B0 : image->channels == 2 ? 0x10B2 : 0x10B5;
    case SG_QUERY_NORMALIZED: return (image->flags & SG_NORMALIZED_COORDINATES) != 0;
    case SG_QUERY_LAYERS: return image->layers;
    case SG_QUERY_LEVELS: return image->level_count;
    case SG_QUERY_FILTER: return image->filter;
    case SG_QUERY_ADDRESS_0: return image->address[0];
    case SG_QUERY_ADDRESS_1: return image->address[1];
    default: return image->address[2];
    }
}

// SPDX-License-Identifier: Apache-2.0
// What compiled kernels and the executor share: the memory layout of a running block, and the services in C that
// neither Swift nor generated code can provide (signal recovery, the scheduler of a block's threads, exact rounding).
#pragma once
#include <stdint.h>

// Why a thread of a block does not run. Compiled code writes one of these into `sg_thread.wait` before it suspends.
enum sg_wait {
    SG_READY = 0,
    SG_YIELD,          // Spinning: lets the others run, then goes on.
    SG_DONE,           // Has ended.
    SG_BARRIER,        // a = barrier, b = threads (0: all), c = enum sg_reduction, value = predicate
    SG_WARP_BARRIER,   // mask
    SG_SHUFFLE,        // mask, a = enum sg_shuffle, b = lane or distance, c = clamp, value
    SG_VOTE,           // mask, a = enum sg_vote, value = predicate
    SG_MATCH_ANY,      // mask, value
    SG_MATCH_ALL,      // mask, value
    SG_REDUX,          // mask, a = enum sg_redux, value
    SG_ACTIVE_MASK,    // a = number of the instruction
};
enum sg_reduction { SG_REDUCE_NONE = 0, SG_REDUCE_POPC, SG_REDUCE_AND, SG_REDUCE_OR };
enum sg_shuffle { SG_SHUFFLE_UP = 0, SG_SHUFFLE_DOWN, SG_SHUFFLE_BFLY, SG_SHUFFLE_IDX };
enum sg_vote { SG_VOTE_ALL = 0, SG_VOTE_ANY, SG_VOTE_UNI, SG_VOTE_BALLOT };
enum sg_redux {
    SG_REDUX_ADD = 0, SG_REDUX_AND, SG_REDUX_OR, SG_REDUX_XOR,
    SG_REDUX_MIN_U, SG_REDUX_MAX_U, SG_REDUX_MIN_S, SG_REDUX_MAX_S,
};

// Who takes part when an instruction names no members: every lane that arrives together.
#define SG_MASK_CONVERGED 0u

// How a launch ended. The first failure of any block wins.
enum sg_outcome {
    SG_RUNNING = 0,
    SG_COMPLETED,
    SG_ILLEGAL_ADDRESS,
    SG_MISALIGNED_ADDRESS,
    SG_TRAPPED,
    SG_ASSERT_FAILED,
    SG_ILLEGAL_INSTRUCTION,
    SG_STACK_OVERFLOW,
    SG_DEADLOCKED,
    SG_CANCELLED,
    SG_OUT_OF_MEMORY,
};

enum { SG_WARP = 32, SG_THREADS_MAX = 1024, SG_WARPS_MAX = 32, SG_BARRIERS = 16 };

// One thread's request to the scheduler, and the answer.
struct sg_thread {
    uint32_t wait;
    uint32_t mask;
    uint32_t a, b, c;
    uint32_t result;     // The value returned.
    uint32_t predicate;  // The predicate returned.
    uint32_t reserved;
    uint64_t value;
    uint64_t reserved2[3];
};

struct sg_launch;

// What compiled code may call out to; the device supplies it. `context` is handed back as the first argument.
struct sg_services {
    void *context;
    int32_t (*vprintf)(void *context, const char *format, const void *arguments);
    void (*assert_fail)(void *context, const char *message, const char *file, uint32_t line, const char *function,
                        const uint32_t block[3], const uint32_t thread[3]);
    void *(*allocate)(void *context, uint64_t bytes);
    void (*release)(void *context, void *memory);
};

// A block while it runs. Compiled code reads the first part by offset.
struct sg_block {
    char *shared;
    const void *parameters;
    struct sg_thread *threads;
    char *frames;
    uint64_t frame_stride;
    uint64_t frame_needed;
    struct sg_launch *launch;
    uint32_t ntid[3];
    uint32_t ctaid[3];
    uint32_t nctaid[3];
    uint32_t processor;
    uint32_t dynamic_shared;
    uint32_t total_shared;
    uint64_t grid;
    void *cooperation;  // 64 zeroed bytes per cooperative launch, for grid barriers (%envreg1, %envreg2).

    // The scheduler's own.
    uint32_t thread_count;
    uint32_t warp_count;
    uint32_t alive_count;
    uint32_t alive[SG_WARPS_MAX];
    uint32_t ready[SG_WARPS_MAX];
    uint32_t at_barrier[SG_WARPS_MAX];
    struct {
        uint32_t waiting;  // Threads that wait here.
        uint32_t arrived;  // Threads that passed with bar.arrive.
        uint32_t expected;    // 0: every living thread.
        uint32_t true_count;  // Waiting threads whose predicate holds.
    } barrier[SG_BARRIERS];
    uint32_t barrier_waiters;
};

typedef void (*sg_loop_function)(struct sg_block *block, char *memory);
typedef void *(*sg_start_function)(struct sg_block *block, char *memory, uint32_t x, uint32_t y, uint32_t z,
                                   uint32_t linear);

// One launch of a kernel, shared by all cores that work on it.
struct sg_launch {
    sg_loop_function loop;    // Runs all threads of a block, for kernels in which no thread waits for another; or NULL.
    sg_start_function start;  // Starts one thread as a coroutine.
    uint64_t frame_bytes;     // Of one thread, a multiple of its alignment.
    const void *parameters;
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t dynamic_shared;
    uint32_t static_shared;
    uint64_t blocks;
    uint64_t next;       // The next block to start; atomic.
    uint64_t finished;   // Blocks that have ended; atomic.
    uint32_t outcome;    // enum sg_outcome; atomic, written once.
    uint32_t cooperative;
    uint64_t fault_address;
    uint64_t grid_id;
    struct sg_services services;
    uint64_t cooperation[8];
};

// The resources of one core: shared memory, threads and frames of the blocks it works on.
struct sg_core;

struct sg_core *sg_core_create(uint32_t processor);
void sg_core_destroy(struct sg_core *core);

// Installs the process's handlers for faults, once; faults that are not a kernel's go to whoever handled them before.
void sg_install_fault_handlers(void);

// Runs blocks of the launch on the calling thread until none is left to start, or `blocks_max` were started.
// Returns nonzero while blocks may be left. Never fails: the outcome is in the launch.
int sg_core_run(struct sg_core *core, struct sg_launch *launch, uint64_t blocks_max);

// Ends a launch early: running blocks stop when they next yield, others do not start.
void sg_launch_stop(struct sg_launch *launch, uint32_t outcome, uint64_t fault_address);
uint32_t sg_launch_outcome(const struct sg_launch *launch);
uint64_t sg_launch_finished(const struct sg_launch *launch);
uint64_t sg_launch_started(const struct sg_launch *launch);

// Textures and surfaces: what an object says of the memory it reads. Numbers of modes and flags are CUDA's
// (CUaddress_mode, CUfilter_mode, CU_TRSF_*).
enum sg_channel { SG_U8 = 0, SG_U16, SG_U32, SG_S8, SG_S16, SG_S32, SG_F16, SG_F32 };
enum { SG_LEVELS_MAX = 20, SG_IMAGES_MAX = 1 << 18 };
enum sg_geometry { SG_1D = 0, SG_2D, SG_3D, SG_A1D, SG_A2D, SG_CUBE, SG_ACUBE };

struct sg_level {
    char *data;
    uint64_t row_bytes;
    uint64_t slice_bytes;  // From a slice, or a layer, to the next.
    uint32_t width, height, depth;
    uint32_t reserved;
};

struct sg_image {
    uint64_t handle;  // 0 while the place is free.
    uint32_t generation;
    uint32_t is_surface;
    uint32_t channel;  // enum sg_channel
    uint32_t channels;
    uint32_t element_bytes;
    uint32_t is_normalized;  // Integers are fractions, whatever the flags say.
    uint32_t is_linear;      // Memory that is read by the number of the element.
    uint32_t layers;         // 0 unless layered; the faces of a cube are six layers.
    uint32_t level_count;
    uint32_t flags;
    uint32_t address[3];
    uint32_t filter;
    uint32_t level_filter;
    float level_bias, level_min, level_max;
    float border[4];
    struct sg_level levels[SG_LEVELS_MAX];
};

// Makes an object and returns its handle: no address, never one of an object that has ended. 0 when there are too many.
uint64_t sg_image_add(const struct sg_image *image);
// Ends an object. Returns 0 if there is none such.
int sg_image_remove(uint64_t handle, int is_surface);
// The object behind a handle, or null; for any 64 bits.
const struct sg_image *sg_image_find(uint64_t handle, int is_surface);

// Conditions of graphs: numbers that kernels set and conditional nodes read.
enum { SG_CONDITIONS_MAX = 1 << 20 };
// Makes a condition and returns its handle: no address, never one of a condition that has ended. 0 when there are too
// many.
uint64_t sg_condition_add(void);
void sg_condition_remove(uint64_t handle);
// Returns 0 if there is no such condition; for any 64 bits.
int sg_condition_set(uint64_t handle, uint32_t value);
// The value; 0 if there is no such condition.
uint32_t sg_condition_value(uint64_t handle);

// The form of a texture or surface instruction, in the bits of one number.
enum sg_form {
    SG_FORM_GEOMETRY = 0xF,       // enum sg_geometry
    SG_FORM_INTEGER = 1 << 4,     // Coordinates are numbers of elements.
    SG_FORM_LEVEL = 1 << 5,       // A level is given.
    SG_FORM_GRADIENT = 1 << 6,    // Derivatives are given.
    SG_FORM_GATHER = 1 << 7,      // One component of the four nearest elements ...
    SG_FORM_COMPONENT_SHIFT = 8,  // ... which of them (2 bits).
    SG_FORM_HALVES = 1 << 10,     // The result is two pairs of halves.
    // Surfaces.
    SG_FORM_CLAMP = 1 << 11,      // Outside: the nearest place; neither this nor zero: the kernel ends.
    SG_FORM_ZERO = 1 << 12,       // Outside: nothing is read or written.
    SG_FORM_FORMATTED = 1 << 13,  // Elements are converted, and x counts them.
    SG_FORM_BYTES_SHIFT = 14,     // Bytes of the access (5 bits).
    SG_FORM_PARTS_SHIFT = 19,     // Registers that are stored (3 bits).
    SG_FORM_SIGNED = 1 << 22,     // Reductions.
    SG_FORM_OPERATION_SHIFT = 23,  // enum sg_redux
};
// What the coordinates of an instruction are, one 32-bit word each.
enum sg_coordinate { SG_LAYER = 0, SG_X, SG_Y, SG_Z, SG_LEVEL, SG_DX, SG_DY = SG_DX + 3, SG_COORDINATES = SG_DY + 3 };
enum sg_query {
    SG_QUERY_WIDTH = 0, SG_QUERY_HEIGHT, SG_QUERY_DEPTH, SG_QUERY_CHANNEL_TYPE, SG_QUERY_CHANNEL_ORDER,
    SG_QUERY_NORMALIZED, SG_QUERY_LAYERS, SG_QUERY_LEVELS, SG_QUERY_FILTER, SG_QUERY_ADDRESS_0, SG_QUERY_ADDRESS_1,
    SG_QUERY_ADDRESS_2,
};

void sg_texture_read(struct sg_block *block, uint64_t handle, uint32_t form, const uint32_t *coordinates,
                     uint32_t *result);
void sg_surface_read(struct sg_block *block, uint64_t handle, uint32_t form, const uint32_t *coordinates, void *target);
void sg_surface_write(struct sg_block *block, uint64_t handle, uint32_t form, const uint32_t *coordinates,
                      const void *source);
void sg_surface_reduce(struct sg_block *block, uint64_t handle, uint32_t form, const uint32_t *coordinates,
                       const void *source);
uint32_t sg_image_query(struct sg_block *block, uint64_t handle, uint32_t is_surface, uint32_t query, uint32_t level);

// A function that compiled code may name; the table ends with a null name.
struct sg_symbol {
    const char *name;
    const void *address;
};
const struct sg_symbol *sg_symbols(void);

// Called by compiled code.
int32_t sg_is_shared(uint64_t address, uint64_t parameter_bytes, const struct sg_block *block);
int32_t sg_is_local(uint64_t address, uint64_t parameter_bytes, const struct sg_block *block);
int32_t sg_is_param(uint64_t address, uint64_t parameter_bytes, const struct sg_block *block);
int32_t sg_is_global(uint64_t address, uint64_t parameter_bytes, const struct sg_block *block);
void sg_bar_arrive(struct sg_block *block, uint32_t barrier, uint32_t threads);
void sg_trap(struct sg_block *block, uint32_t outcome) __attribute__((noreturn));
void sg_assert_fail(struct sg_block *block, const char *message, const char *file, uint32_t line,
                    const char *function, uint32_t x, uint32_t y, uint32_t z) __attribute__((noreturn));
int32_t sg_vprintf(struct sg_block *block, const char *format, const void *arguments);
void *sg_malloc(struct sg_block *block, uint64_t bytes);
void sg_free(struct sg_block *block, void *memory);
void sg_set_condition(struct sg_block *block, uint64_t handle, uint32_t value);
uint64_t sg_global_timer(void);
void sg_nanosleep(uint32_t nanoseconds);

// Arithmetic that LLVM has no exact form of. `mode`: 0 nearest even, 1 towards zero, 2 down, 3 up.
float sg_add_f32(float a, float b, uint32_t mode);
float sg_mul_f32(float a, float b, uint32_t mode);
float sg_fma_f32(float a, float b, float c, uint32_t mode);
float sg_div_f32(float a, float b, uint32_t mode);
float sg_sqrt_f32(float a, uint32_t mode);
double sg_add_f64(double a, double b, uint32_t mode);
double sg_mul_f64(double a, double b, uint32_t mode);
double sg_fma_f64(double a, double b, double c, uint32_t mode);
double sg_div_f64(double a, double b, uint32_t mode);
double sg_sqrt_f64(double a, uint32_t mode);
float sg_f64_to_f32(double a, uint32_t mode);
float sg_s64_to_f32(int64_t a, uint32_t mode);
float sg_u64_to_f32(uint64_t a, uint32_t mode);
double sg_s64_to_f64(int64_t a, uint32_t mode);
double sg_u64_to_f64(uint64_t a, uint32_t mode);
uint16_t sg_f64_to_f16(double a, uint32_t mode);
uint16_t sg_f64_to_bf16(double a, uint32_t mode);
float sg_f16_to_f32(uint16_t a);

// The position of the n-th set bit of `mask` from `base`, upwards or downwards; all ones when there is none.
uint32_t sg_fns(uint32_t mask, uint32_t base, int32_t offset);

// Functions of the special-function unit, within its documented error.
float sg_sin(float a);
float sg_cos(float a);
float sg_ex2(float a);
float sg_lg2(float a);
float sg_tanh(float a);

// One formatted value, for `formatPrintf`. `specification` is a conversion such as "%-8.3f"; returns snprintf's
// result.
int sg_format_double(char *target, uint64_t capacity, const char *specification, double value);
int sg_format_integer(char *target, uint64_t capacity, const char *specification, uint64_t value, int is_wide);
int sg_format_pointer(char *target, uint64_t capacity, const char *specification, const void *value);
int sg_format_text(char *target, uint64_t capacity, const char *specification, const char *value);

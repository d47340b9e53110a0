// SPDX-License-Identifier: Apache-2.0
// What Swift cannot say of the system's C interface: variadic calls and C's standard streams.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>

/// Makes the calling thread's short sleeps exact to so many nanoseconds.
static inline void csystem_set_timer_slack(unsigned long nanoseconds) { prctl(PR_SET_TIMERSLACK, nanoseconds); }

/// Asks the kernel to end this process with a signal when its parent ends.
static inline void csystem_end_with_parent(int signal) { prctl(PR_SET_PDEATHSIG, signal); }

/// Writes to C's buffered standard output, or standard error.
static inline void csystem_print(const void *bytes, size_t count, int to_error) {
    fwrite(bytes, 1, count, to_error ? stderr : stdout);
}

/// Waits until a descriptor is readable, at most so many nanoseconds (less than a second).
void csystem_wait_readable(int descriptor, long nanoseconds);

/// Bytes that a socket has taken and its peer has not; negative where that is not known.
long csystem_queued_bytes(int descriptor);

/// Makes an unnamed file in memory that is closed on exec; negative when that fails.
int csystem_memory_file(const char *name);

/// Whether the end of a memory range has no pages yet, as that of a fresh large array. Arrays are used from their
/// beginning, so the last page speaks for all.
bool csystem_is_untouched(const void *start, size_t count);

/// Asks for huge pages where the range gets its first pages.
void csystem_prefer_huge_pages(void *start, size_t count);

/// Gives pages to a range that is about to be overwritten: all at once costs a fraction of a fault for each. What the
/// memory holds stays; older kernels do nothing.
void csystem_populate(void *start, size_t count);

/// Empties C's buffered standard output and error.
static inline void csystem_flush_standard_streams(void) {
    fflush(stdout);
    fflush(stderr);
}

/// Maps a file that consists of a head and some rings: the head, and behind it each ring twice, so that what wraps around
/// a ring's end lies in one piece. All sizes are multiples of a page. NULL when that fails.
void *csystem_map_rings(int descriptor, size_t head, size_t ring, size_t rings);

/// Sleeps while a word of shared memory has a value, at most so many nanoseconds (less than a second).
void csystem_futex_wait(void *word, unsigned expected, long nanoseconds);

/// Wakes one that sleeps on a word of shared memory, in whichever process.
void csystem_futex_wake(void *word);

/// What a loop does that waits for another processor.
static inline void csystem_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Copies between ranges that do not overlap. The C library's copies of 2 to 384 KiB use an instruction (rep movsb) that
/// moves lines of another core's cache at a quarter of the speed of plain loads and stores.
void csystem_copy(void *target, const void *source, size_t count);

/// The calling thread's number, which the system gives it.
int csystem_thread_id(void);

/// As csystem_copy, for a target that nobody reads soon: it does not displace what the caches hold.
void csystem_copy_past_caches(void *target, const void *source, size_t count);

/// Gives back the memory behind a part of an unnamed file; the rest keeps its place.
void csystem_punch_hole(int descriptor, long offset, long count);

/// Makes an unnamed file in memory of so many zero bytes, whose size nobody can change, and which is closed on exec.
/// -1 with errno when that fails.
int csystem_sealed_memory_file(const char *name, size_t count);

/// The size of a file that cannot become smaller; -1 when it is none.
long csystem_sealed_size(int descriptor);

/// Whether this machine has a node of memory (NUMA); node 0 is there always.
bool csystem_has_node(int node);

/// Prefers a node for pages that have yet to be touched; nothing changes where the system has only one.
void csystem_prefer_node(void *address, size_t count, int node);

/// Locks a byte of a file for this opening of it, until that is closed or the process ends. 0, or -1 with errno when
/// another one has it.
int csystem_lock_byte(int descriptor, long offset);

/// Whether another opening of a file has locked a byte.
bool csystem_is_byte_locked(int descriptor, long offset);

/// The short name of this process's program: the last part of its first word.
const char *csystem_program_name(void);

/// As many descriptors travel with one message.
#define CSYSTEM_DESCRIPTORS_MAX 4

/// Sends a message and descriptors over a Unix socket. 0, or -1 with errno.
int csystem_send_descriptors(
    int socket, const int *descriptors, size_t descriptor_count, const void *bytes, size_t count);

/// Receives a message and descriptors from a Unix socket: the message's length, 0 at the end, or -1 with errno.
/// Descriptors that the message does not bring are -1; those that are not expected are closed.
long csystem_receive_descriptors(int socket, int *descriptors, size_t descriptor_count, void *bytes, size_t count);

/// The user at the other end of a Unix socket, or -1.
long csystem_peer_user(int socket);

/// accept() whose descriptor no process that is started at the same moment inherits.
int csystem_accept(int listener);

/// pipe() whose descriptors no process that is started at the same moment inherits. 0, or -1 with errno.
int csystem_pipe(int ends[2]);

/// Stops this process as Ctrl-Z does, until it is continued. Meanwhile a child sends the bytes over the socket every so
/// many seconds; it ends with this process, however that ends. No socket (-1): nobody is told anything.
void csystem_stop_while_sending(int socket, const void *bytes, size_t count, unsigned seconds);

/// Calls `handle` with the address of every access to memory that is mapped without the right for it (SIGSEGV with
/// SEGV_ACCERR), on the thread that made it. True: the access is made again. Otherwise, and for every other fault, what
/// the process had set for the signal before happens. -1 with errno when that cannot be set.
int csystem_catch_faults(bool (*handle)(uintptr_t address, bool is_write));

/// Maps a file in memory: readable and writable, anywhere (NULL), or in place of what is at an address, without access.
/// NULL when that fails.
void *csystem_map_file(int descriptor, void *at, size_t count);

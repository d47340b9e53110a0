// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "csystem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

void csystem_wait_readable(int descriptor, long nanoseconds) {
    struct pollfd poll_descriptor = {.fd = descriptor, .events = POLLIN};
    struct timespec time = {.tv_nsec = nanoseconds};
    ppoll(&poll_descriptor, 1, &time, NULL);
}

long csystem_queued_bytes(int descriptor) {
    int count = 0;
    return ioctl(descriptor, SIOCOUTQ, &count) == 0 ? count : -1;
}

static const uintptr_t page_bytes = 4096;

// Advice about the whole pages of a range.
static void advise(void *start, size_t count, int advice) {
    uintptr_t first = ((uintptr_t)start + page_bytes - 1) / page_bytes * page_bytes;
    uintptr_t end = ((uintptr_t)start + count) / page_bytes * page_bytes;
    if (first < end) madvise((void *)first, end - first, advice);
}

bool csystem_is_untouched(const void *start, size_t count) {
    if (count < page_bytes) return false;
    uintptr_t last = ((uintptr_t)start + count - 1) / page_bytes * page_bytes;
    unsigned char residence = 1;
    return mincore((void *)last, page_bytes, &residence) == 0 && !(residence & 1);
}

void csystem_prefer_huge_pages(void *start, size_t count) { advise(start, count, MADV_HUGEPAGE); }

void csystem_populate(void *start, size_t count) { advise(start, count, MADV_POPULATE_WRITE); }

int csystem_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int csystem_sealed_memory_file(const char *name, size_t count) {
    int descriptor = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0) return -1;
    if (ftruncate(descriptor, count) == 0 &&
        fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return descriptor;
    int reason = errno;
    close(descriptor);
    errno = reason;
    return -1;
}

long csystem_sealed_size(int descriptor) {
    struct stat status;
    int seals = fcntl(descriptor, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(descriptor, &status) != 0) return -1;
    return status.st_size;
}

bool csystem_has_node(int node) {
    char path[64];
    snprintf(path, sizeof path, "/sys/devices/system/node/node%d", node);
    return node == 0 || (node > 0 && access(path, F_OK) == 0);
}

void csystem_prefer_node(void *address, size_t count, int node) {
    unsigned long nodes[16] = {0};
    unsigned bits = 8 * sizeof nodes[0];
    if (node < 0 || node >= (int)(bits * 16)) return;
    nodes[node / bits] = 1ul << node % bits;
    const int preferred = 1; // MPOL_PREFERRED
    // The kernel leaves out the last bit of the number it is given.
    syscall(SYS_mbind, address, count, preferred, nodes, bits * 16 + 1, 0);
}

int csystem_lock_byte(int descriptor, long offset) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
    return fcntl(descriptor, F_OFD_SETLK, &lock);
}

bool csystem_is_byte_locked(int descriptor, long offset) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
    return fcntl(descriptor, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void csystem_punch_hole(int descriptor, long offset, long count) {
    fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, count);
}

enum { descriptors_max = CSYSTEM_DESCRIPTORS_MAX };

int csystem_send_descriptors(
    int socket, const int *descriptors, size_t descriptor_count, const void *bytes, size_t count) {
    if (descriptor_count > descriptors_max) {
        errno = EINVAL;
        return -1;
    }
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    union {
        char room[CMSG_SPACE(descriptors_max * sizeof(int))];
        struct cmsghdr align;
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room,
        .msg_controllen = CMSG_SPACE(descriptor_count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptor_count * sizeof(int));
    memcpy(CMSG_DATA(header), descriptors, descriptor_count * sizeof(int));
    long sent;
    do sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

long csystem_receive_descriptors(
    int socket, int *descriptors, size_t descriptor_count, void *bytes, size_t count) {
    struct iovec part = {.iov_base = bytes, .iov_len = count};
    union {
        char room[CMSG_SPACE(descriptors_max * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    for (size_t i = 0; i < descriptor_count; i++) descriptors[i] = -1;
    long received;
    do received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received <= 0) return received;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return received;
    size_t found = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < found; i++) {
        int descriptor;
        memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
        if (i < descriptor_count)
            descriptors[i] = descriptor;
        else
            close(descriptor);
    }
    return received;
}

long csystem_peer_user(int socket) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? (long)peer.uid : -1;
}

int csystem_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC); }

int csystem_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

const char *csystem_program_name(void) { return program_invocation_short_name; }

void csystem_stop_while_sending(int socket, const void *bytes, size_t count, unsigned seconds) {
    pid_t self = getpid();
    pid_t keeper = socket < 0 ? -1 : fork();
    if (keeper == 0) {
        // Only calls that are safe after the fork of a process with threads. Signals for the terminal's processes are
        // not for this one.
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid();
        if (getppid() != self) _exit(0);
        while (send(socket, bytes, count, MSG_NOSIGNAL) == (long)count) sleep(seconds);
        _exit(0);
    }
    // As the terminal would have done it, had the signal not been blocked.
    sigset_t stop, old;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    kill(self, SIGTSTP);
    pthread_sigmask(SIG_UNBLOCK, &stop, &old);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (keeper > 0) {
        kill(keeper, SIGKILL);
        while (waitpid(keeper, NULL, 0) < 0 && errno == EINTR) {}
    }
}

static struct sigaction earlier_fault_action;
static bool (*fault_handler)(uintptr_t address, bool is_write);

/// Whether the processor wanted to write. Where that is not known it is a read at first: the write that is then refused
/// tells.
static bool is_write_fault(const void *context) {
#if defined __x86_64__
    return (((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
    (void)context;
    return false;
#endif
}

static void on_fault(int signal, siginfo_t *information, void *context) {
    int error = errno;
    bool is_handled = information->si_code == SEGV_ACCERR &&
                      fault_handler((uintptr_t)information->si_addr, is_write_fault(context));
    errno = error;
    if (is_handled) return;
    if (earlier_fault_action.sa_flags & SA_SIGINFO) {
        earlier_fault_action.sa_sigaction(signal, information, context);
    } else if (earlier_fault_action.sa_handler != SIG_DFL && earlier_fault_action.sa_handler != SIG_IGN) {
        earlier_fault_action.sa_handler(signal);
    } else {
        // The access is made again and ends the process; a signal that somebody has sent is sent again.
        sigaction(signal, &earlier_fault_action, NULL);
        if (information->si_code <= 0) raise(signal);
    }
}

int csystem_catch_faults(bool (*handle)(uintptr_t address, bool is_write)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    fault_handler = handle;
    if (sigaction(SIGSEGV, NULL, &earlier_fault_action) != 0) return -1;
    action.sa_sigaction = on_fault;
    // A process that looks at its stack's end does so on another stack.
    action.sa_flags = SA_SIGINFO | SA_NODEFER | (earlier_fault_action.sa_flags & SA_ONSTACK);
    sigemptyset(&action.sa_mask);
    return sigaction(SIGSEGV, &action, NULL);
}

void *csystem_map_file(int descriptor, void *at, size_t count) {
    int protection = at ? PROT_NONE : PROT_READ | PROT_WRITE;
    void *mapped = mmap(at, count, protection, MAP_SHARED | MAP_NORESERVE | (at ? MAP_FIXED : 0), descriptor, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

int csystem_thread_id(void) { return (int)syscall(SYS_gettid); }

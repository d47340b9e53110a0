// SPDX-License-Identifier: Apache-2.0
// Faults of kernels: a stray access or trap in compiled code ends the kernel, not the process.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

// Initial-exec, because the first use of a dynamic thread-local may allocate, which a signal handler must not.
static __thread struct sg_recovery *current __attribute__((tls_model("initial-exec")));

enum { SIGNAL_STACK_BYTES = 64 << 10 };
static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
enum { SIGNALS = sizeof signals / sizeof signals[0] };
static struct sigaction previous[SIGNALS];

static enum sg_outcome outcome_of(int signal, const siginfo_t *info, const struct sg_recovery *recovery) {
    const char *address = info->si_addr;
    if (signal == SIGILL || signal == SIGFPE) return SG_ILLEGAL_INSTRUCTION;
    if (address >= recovery->stack_low && address < recovery->stack_high) return SG_STACK_OVERFLOW;
    return SG_ILLEGAL_ADDRESS;
}

static void pass_on(int signal, siginfo_t *info, void *context) {
    for (int i = 0; i < SIGNALS; i++) {
        if (signals[i] != signal) continue;
        const struct sigaction *before = &previous[i];
        if (before->sa_flags & SA_SIGINFO) {
            before->sa_sigaction(signal, info, context);
        } else if (before->sa_handler == SIG_DFL || before->sa_handler == SIG_IGN) {
            // Returning repeats the fault, now without us.
            struct sigaction fallback;
            memset(&fallback, 0, sizeof fallback);
            fallback.sa_handler = SIG_DFL;
            sigaction(signal, &fallback, NULL);
        } else {
            before->sa_handler(signal);
        }
        return;
    }
}

static void on_fault(int signal, siginfo_t *info, void *context) {
    struct sg_recovery *recovery = current;
    // Only the processor's own faults are a kernel's; a signal sent by someone is not.
    if (!recovery || info->si_code <= 0) {
        pass_on(signal, info, context);
        return;
    }
    sg_launch_stop(recovery->launch, outcome_of(signal, info, recovery), (uint64_t)(uintptr_t)info->si_addr);
    siglongjmp(recovery->target, 1);
}

static void install(void) {
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_sigaction = on_fault;
        // Not blocked while handled: the handler is left by a jump that does not restore the mask.
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sigemptyset(&action.sa_mask);
        sigaction(signals[i], &action, &previous[i]);
    }
}

void sg_install_fault_handlers(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

static pthread_key_t stack_key;

static void release_stack(void *stack) {
    stack_t off;
    memset(&off, 0, sizeof off);
    off.ss_flags = SS_DISABLE;
    sigaltstack(&off, NULL);
    munmap(stack, SIGNAL_STACK_BYTES);
}

static void make_stack_key(void) { pthread_key_create(&stack_key, release_stack); }

// Gives this thread a stack for handlers, unless it has one: a fault may be that its own stack is used up.
static void ensure_signal_stack(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_stack_key);
    stack_t now;
    if (pthread_getspecific(stack_key) || (sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE))) return;
    void *stack = mmap(NULL, SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) return;
    stack_t mine;
    memset(&mine, 0, sizeof mine);
    mine.ss_sp = stack;
    mine.ss_size = SIGNAL_STACK_BYTES;
    if (sigaltstack(&mine, NULL) == 0)
        pthread_setspecific(stack_key, stack);
    else
        munmap(stack, SIGNAL_STACK_BYTES);
}

// The bounds of this thread's stack, asked for once: the question opens a file of /proc on the main thread.
struct stack_bounds {
    char *low;
    char *high;
    int known;
};
static __thread struct stack_bounds bounds __attribute__((tls_model("initial-exec")));

void sg_recovery_enter(struct sg_recovery *recovery) {
    enum { GUARD_REACH = 1 << 20 };
    if (!bounds.known) {
        pthread_attr_t attributes;
        void *low = NULL;
        size_t size = 0;
        if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
            pthread_attr_getstack(&attributes, &low, &size);
            pthread_attr_destroy(&attributes);
        }
        bounds.low = low;
        bounds.high = bounds.low + size;
        bounds.known = 1;
        ensure_signal_stack();
    }
    recovery->stack_low = bounds.low ? bounds.low - GUARD_REACH : NULL;
    recovery->stack_high = bounds.low ? bounds.low + 4096 : NULL;
    current = recovery;
}

void sg_stack_bounds(char **low, char **high) {
    *low = bounds.low;
    *high = bounds.high;
}

void sg_recovery_leave(void) { current = NULL; }

void sg_trap(struct sg_block *block, uint32_t outcome) {
    sg_launch_stop(block->launch, outcome, 0);
    if (current) siglongjmp(current->target, 1);
    abort();
}

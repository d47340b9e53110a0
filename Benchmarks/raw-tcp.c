// SPDX-License-Identifier: Apache-2.0
// The floor: what blocking TCP over loopback does on this machine at this minute, with the message sizes of a remote
// call. Two processes, one connection, no cleverness. What the remote driver does is quoted as a ratio to this, and what
// it does through shared memory to one memcpy between two arrays. How fast a bare
// ring is says what of that the machine allows: on virtual machines it depends on where the host runs the two cores.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { requestBytes = 32, replyBytes = 16, pings = 50000, bulkRounds = 4 };
static const size_t bulkBytes = (size_t)256 << 20;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void readAll(int connection, void *buffer, size_t count) {
    for (char *at = buffer; count > 0;) {
        ssize_t n = read(connection, at, count);
        if (n <= 0) fail("read");
        at += n;
        count -= (size_t)n;
    }
}

static void writeAll(int connection, const void *buffer, size_t count) {
    for (const char *at = buffer; count > 0;) {
        ssize_t n = write(connection, at, count);
        if (n <= 0) fail("write");
        at += n;
        count -= (size_t)n;
    }
}

/// The far end: answers pings, swallows one-way messages, takes and sends bulk data.
static void serve(int connection, char *bulk) {
    char message[64];
    for (int i = 0; i < pings; i++) {
        readAll(connection, message, requestBytes);
        writeAll(connection, message, replyBytes);
    }
    for (int i = 0; i < pings; i++) readAll(connection, message, requestBytes);
    writeAll(connection, message, replyBytes);
    for (int i = 0; i < bulkRounds; i++) {
        readAll(connection, bulk, bulkBytes);
        writeAll(connection, message, replyBytes);
    }
    for (int i = 0; i < bulkRounds; i++) {
        readAll(connection, message, replyBytes);
        writeAll(connection, bulk, bulkBytes);
    }
}

enum { ringBytes = 1 << 20, pieceBytes = 128 << 10 };

/// Copies with plain loads and stores: the C library's copy moves another core's lines more slowly.
static void copyPiece(char *target, const char *source) {
    typedef long words __attribute__((vector_size(16), aligned(1), may_alias));
    for (size_t i = 0; i < pieceBytes; i += 16) {
        *(words *)(target + i) = *(const words *)(source + i);
        __asm__ volatile("" ::: "memory");
    }
}

/// Two processes and a ring of memory, both polling: what can go from one core to another, copied in and out.
static void measureRing(const char *source, char *target) {
    struct {
        _Alignas(128) _Atomic size_t written;
        _Alignas(128) _Atomic size_t read;
    } *position = mmap(NULL, 4096 + ringBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if ((void *)position == MAP_FAILED) fail("mmap");
    char *ring = (char *)position + 4096;
    const size_t all = 2 * bulkBytes;
    pid_t reader = fork();
    if (reader < 0) fail("fork");
    if (reader == 0) {
        memset(target, 4, bulkBytes);
        position->read = 1;
        while (position->written < 1) {}
        position->read = 0;
        for (size_t at = 0; at < all; at += pieceBytes) {
            while (position->written - 1 < at + pieceBytes) {}
            copyPiece(target + at % bulkBytes, ring + at % ringBytes);
            position->read = at + pieceBytes;
        }
        _exit(0);
    }
    while (position->read != 1) {}
    position->written = 1;
    while (position->read != 0) {}
    double start = now();
    for (size_t at = 0; at < all; at += pieceBytes) {
        while (at + pieceBytes - position->read > ringBytes) {}
        copyPiece(ring + at % ringBytes, source + at % bulkBytes);
        position->written = 1 + at + pieceBytes;
    }
    while (position->read != all) {}
    printf("raw ring between two processes: %.2f GB/s\n", (double)all / (now() - start) / 1e9);
    waitpid(reader, NULL, 0);
}

int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        fail("listen");
    char *bulk = malloc(bulkBytes);
    if (!bulk) fail("malloc");
    memset(bulk, 1, bulkBytes);

    pid_t server = fork();
    if (server < 0) fail("fork");
    if (server == 0) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) fail("accept");
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        memset(bulk, 2, bulkBytes);  // Pages of its own, not copied on the first write of the measurement.
        serve(connection, bulk);
        _exit(0);
    }

    int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char message[64] = {0};
    double start = now();
    for (int i = 0; i < pings; i++) {
        writeAll(connection, message, requestBytes);
        readAll(connection, message, replyBytes);
    }
    double seconds = now() - start;
    printf("raw TCP 32B/16B ping-pong: %.0f/s %.2f us\n", pings / seconds, seconds / pings * 1e6);

    start = now();
    for (int i = 0; i < pings; i++) writeAll(connection, message, requestBytes);
    readAll(connection, message, replyBytes);
    seconds = now() - start;
    printf("raw one-way 32B write per call: %.0f/s %.2f us\n", pings / seconds, seconds / pings * 1e6);

    start = now();
    for (int i = 0; i < bulkRounds; i++) {
        writeAll(connection, bulk, bulkBytes);
        readAll(connection, message, replyBytes);
    }
    printf("raw upload 256MiB: %.2f GB/s\n", bulkRounds * (double)bulkBytes / (now() - start) / 1e9);
    start = now();
    for (int i = 0; i < bulkRounds; i++) {
        writeAll(connection, message, replyBytes);
        readAll(connection, bulk, bulkBytes);
    }
    printf("raw download 256MiB: %.2f GB/s\n", bulkRounds * (double)bulkBytes / (now() - start) / 1e9);
    int status = 0;
    waitpid(server, &status, 0);
    char *target = malloc(bulkBytes);
    if (!target) fail("malloc");
    memset(target, 3, bulkBytes);
    start = now();
    for (int i = 0; i < bulkRounds; i++) {
        memcpy(target, bulk, bulkBytes);
        __asm__ volatile("" ::"r"(target) : "memory");
    }
    printf("raw memcpy 256MiB: %.2f GB/s\n", bulkRounds * (double)bulkBytes / (now() - start) / 1e9);
    measureRing(bulk, target);
    return status == 0 ? 0 : 1;
}

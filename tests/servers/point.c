/* Ends a process at one of the calls by which it changes anything outside
 * itself: writes to files, syncs, removals, what it sends over the network.
 * Preloaded into the engine by `points.rs`; the engine knows nothing of it.
 *
 * ENGINE_POINT      the number of the call, counted from 1
 * ENGINE_POINT_HOW  before, after: the process is killed before or after it
 *                   cut, lost: only sends count; the connection is cut before
 *                   or after it, and the process lives on
 * ENGINE_POINT_LOG  a file that gets a line for each call counted
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static long stop_at;
static char how;
static int only_sends;
static int log_file = -1;

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("ENGINE_POINT"), *by = getenv("ENGINE_POINT_HOW"), *log = getenv("ENGINE_POINT_LOG");
    stop_at = at ? atol(at) : 0;
    how = by ? by[0] : 'b';
    only_sends = how == 'c' || how == 'l';
    if (log) log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* A file, or a connection over the network; not a pipe, nor what threads wake
 * each other by. */
static int is_file(int fd) {
    struct stat about;
    return fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

static int is_network(int fd) {
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    return getsockname(fd, (struct sockaddr *)&name, &length) == 0 &&
           (name.ss_family == AF_INET || name.ss_family == AF_INET6);
}

static void note(const char *call, int fd, const char *path) {
    char link[64], name[512], line[640];
    if (log_file < 0) return;
    if (!path) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, name, sizeof name - 1);
        name[length < 0 ? 0 : length] = 0;
        path = name;
    }
    int length = snprintf(line, sizeof line, "%s %s\n", call, path);
    syscall(SYS_write, log_file, line, (size_t)length);
}

/* Counts a call; true where it is the one. */
static int is_it(const char *call, int fd, const char *path, int is_send) {
    if (only_sends && !is_send) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1;
    note(call, fd, path);
    if (number != stop_at) return 0;
    if (how == 'b') die();
    if (how == 'c') shutdown(fd, SHUT_RDWR);
    return 1;
}

static void after(int it, int fd) {
    if (!it) return;
    if (how == 'a') die();
    if (how == 'l') shutdown(fd, SHUT_RDWR);
}

#define ON_FD(type, name, parameters, arguments)                                                  \
    type name parameters {                                                                        \
        static type(*real) parameters;                                                            \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);                            \
        int network = is_network(fd);                                                             \
        int it = (network || is_file(fd)) && is_it(network ? "send" : #name, fd, NULL, network);  \
        type done = real arguments;                                                               \
        after(it, fd);                                                                            \
        return done;                                                                              \
    }

#define ON_PATH(name, parameters, arguments, path)                         \
    int name parameters {                                                  \
        static int(*real) parameters;                                      \
        if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name);      \
        int it = is_it(#name, -1, path, 0);                                \
        int done = real arguments;                                         \
        after(it, -1);                                                     \
        return done;                                                       \
    }

ON_FD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
ON_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
ON_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
ON_FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
ON_FD(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
ON_FD(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
ON_FD(int, fsync, (int fd), (fd))
ON_FD(int, fdatasync, (int fd), (fd))
ON_FD(int, ftruncate, (int fd, off_t size), (fd, size))
ON_FD(int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_PATH(unlink, (const char *path), (path), path)
ON_PATH(rename, (const char *from, const char *to), (from, to), to)
ON_PATH(link, (const char *from, const char *to), (from, to), to)

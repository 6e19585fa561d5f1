// The Linux calls that Swift's Glibc module hides because they need _GNU_SOURCE, as prototypes
// written by hand from their manual pages. No logic. Defining _GNU_SOURCE here would change the
// types that Glibc gives Swift, so it is not done.
#ifndef CLINUX_SHIM_H
#define CLINUX_SHIM_H

#include <getopt.h>
#include <linux/futex.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

// accept4(2), pipe2(2), pthread_setname_np(3)
extern int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
extern int pipe2(int pipefd[2], int flags);
extern int pthread_setname_np(pthread_t thread, const char *name);

// sendmmsg(2)
struct mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};
extern int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);

// getopt_long(3) keeps its place in globals, which Swift does not let one name.
static inline void linux_getopt_restart(void) {
    opterr = 0;
    optind = 0;
}
static inline int linux_optind(void) { return optind; }
static inline int linux_optopt(void) { return optopt; }
static inline const char *linux_optarg(void) { return optarg; }

// futex(2), which has no wrapper; among the threads of one process, the deadline on CLOCK_MONOTONIC.
static inline long linux_futex_wait(const void *word, uint32_t expected,
                                    const struct timespec *deadline) {
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, deadline,
                   (void *)0, FUTEX_BITSET_MATCH_ANY);
}
static inline long linux_futex_wake(const void *word, int count) {
    return syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count);
}

// poll(2): the peer has closed or shut down its writing half. linux/poll.h, the same on every
// architecture that Swift runs on.
static const short linux_POLLRDHUP = 0x2000;

#endif

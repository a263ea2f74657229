/* Makes the disk of the store and the journal fail for as long as the file named by FAULT says so: "sync" or "full".
   And moves the wall clock by as many seconds as the file named by CLOCK says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int fails(const char *how, int fd) {
    char link[64], name[4096], said[16] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    if (!strstr(name, "crossmodel.db") && !strstr(name, "/journal/")) return 0;
    FILE *file = getenv("FAULT") ? fopen(getenv("FAULT"), "r") : NULL;
    if (!file) return 0;
    if (!fgets(said, sizeof said, file)) said[0] = 0;
    fclose(file);
    return strcmp(said, how) == 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) {
    if (fails("sync", fd)) return errno = EIO, -1;
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    if (fails("sync", fd)) return errno = EIO, -1;
    return REAL(fdatasync)(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (fails("full", fd)) return errno = ENOSPC, -1;
    return REAL(pwrite64)(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    if (fails("full", fd)) return errno = ENOSPC, -1;
    return REAL(pwrite)(fd, bytes, count, at);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (fails("full", fd)) return errno = ENOSPC, -1;
    return REAL(write)(fd, bytes, count);
}

static time_t moved(void) {
    long long seconds = 0;
    FILE *file = getenv("CLOCK") ? fopen(getenv("CLOCK"), "r") : NULL;
    if (!file) return 0;
    if (fscanf(file, "%lld", &seconds) != 1) seconds = 0;
    fclose(file);
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = REAL(clock_gettime)(clock, now);
    if (done == 0 && clock == CLOCK_REALTIME) now->tv_sec += moved();
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int done = REAL(gettimeofday)(now, zone);
    if (done == 0) now->tv_sec += moved();
    return done;
}

time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}

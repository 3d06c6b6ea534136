/* What the reference programs share: sockets on 127.0.0.1, time, and an end with a message when anything fails. */
#ifndef COMMON_H
#define COMMON_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(const struct rusage *used) {
  return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) +
         (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec) / 1e6;
}

/* A socket that listens on a free port. */
static int listening(struct sockaddr_in *at) {
  socklen_t length = sizeof *at;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  memset(at, 0, sizeof *at);
  at->sin_family = AF_INET;
  at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, (struct sockaddr *)at, length) || listen(fd, 128) ||
      getsockname(fd, (struct sockaddr *)at, &length))
    fail("listen");
  return fd;
}

static int connected(const struct sockaddr_in *to) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof *to)) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void send_whole(int fd, const void *bytes, size_t length) {
  const char *at = bytes;
  while (length > 0) {
    ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
    if (sent < 0) fail("send");
    at += sent;
    length -= (size_t)sent;
  }
}

static void send_file(int fd, int file, off_t offset, size_t length) {
  while (length > 0) {
    ssize_t sent = sendfile(fd, file, &offset, length);
    if (sent <= 0) fail("sendfile");
    length -= (size_t)sent;
  }
}

static off_t length_of(int file) {
  struct stat facts;
  if (fstat(file, &facts)) fail("fstat");
  return facts.st_size;
}
#endif

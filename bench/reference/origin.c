/*
 * An HTTP origin that is no bottleneck, and a client of it that is as fast as a plain C program can be.
 *
 *   origin serve SOURCE        one file under every path, a thread for each connection, sendfile(). Understands HEAD, GET, one Range, keep-alive. Prints
 *                              {"port":…}; `/counted` answers with the bytes of content sent until then. Ends when standard input ends.
 *   origin get PORT TARGET     one GET; what comes is received, its CRC-32 computed, and written with pwrite(). Prints a line of JSON.
 */
#include "common.h"
#include "crc32.h"
#include <pthread.h>

#define READ_BYTES (256 << 10)

static int source;
static off_t length;
static unsigned long long counted;

/* Reads up to the empty line; 0 at the end of the connection. What comes behind it is an error here: nobody sends bodies or pipelines. */
static size_t head_of(int fd, char *head, size_t max) {
  size_t filled = 0;
  while (filled + 1 < max) {
    ssize_t got = recv(fd, head + filled, max - 1 - filled, 0);
    if (got <= 0) return 0;
    filled += (size_t)got;
    head[filled] = 0;
    if (strstr(head, "\r\n\r\n")) return filled;
  }
  return 0;
}

static int send_part(int fd, off_t offset, off_t count) {
  while (count > 0) {
    ssize_t sent = sendfile(fd, source, &offset, (size_t)(count < 1 << 20 ? count : 1 << 20));
    if (sent <= 0) return -1;
    __atomic_add_fetch(&counted, (unsigned long long)sent, __ATOMIC_RELAXED);
    count -= sent;
  }
  return 0;
}

static void *answering(void *of) {
  int fd = (int)(intptr_t)of, one = 1;
  char head[16384], text[512];
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  while (head_of(fd, head, sizeof head)) {
    long long from = 0, to = length - 1;
    int only_head = !strncmp(head, "HEAD ", 5), ranged = 0, n;
    if (!strncmp(head, "GET /counted ", 13)) {
      char body[32];
      int bytes = snprintf(body, sizeof body, "%llu", __atomic_load_n(&counted, __ATOMIC_RELAXED));
      n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", bytes, body);
      if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) break;
      continue;
    }
    char *range = strcasestr(head, "\r\nrange: bytes=");
    if (range) {
      ranged = sscanf(range + 15, "%lld-%lld", &from, &to);
      if (to > length - 1) to = length - 1;
      if (ranged < 1 || from < 0 || from > to) break;
    }
    n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %lld\r\nAccept-Ranges: bytes\r\nETag: \"%lld\"\r\n",
                 ranged ? "206 Partial Content" : "200 OK", to - from + 1, (long long)length);
    if (ranged)
      n += snprintf(text + n, sizeof text - (size_t)n, "Content-Range: bytes %lld-%lld/%lld\r\n", from, to, (long long)length);
    n += snprintf(text + n, sizeof text - (size_t)n, "\r\n");
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL | (only_head ? 0 : MSG_MORE)) != n) break;
    if (!only_head && send_part(fd, from, to - from + 1)) break;
  }
  close(fd);
  return NULL;
}

static void *accepting(void *of) {
  for (;;) {
    pthread_t thread;
    int fd = accept((int)(intptr_t)of, NULL, NULL);
    if (fd < 0) fail("accept");
    errno = pthread_create(&thread, NULL, answering, (void *)(intptr_t)fd);
    if (errno) fail("pthread_create");
    pthread_detach(thread);
  }
  return NULL;
}

static int serve(const char *path) {
  struct sockaddr_in at;
  pthread_t thread;
  char byte;
  source = open(path, O_RDONLY);
  if (source < 0) fail(path);
  length = length_of(source);
  int listener = listening(&at);
  pthread_create(&thread, NULL, accepting, (void *)(intptr_t)listener);
  printf("{\"port\":%d}\n", ntohs(at.sin_port));
  fflush(stdout);
  while (read(0, &byte, 1) > 0) continue;
  return 0;
}

static int get(int port, const char *path) {
  static uint8_t buffer[READ_BYTES];
  static const char request[] = "GET /content HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int target = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (target < 0) fail(path);
  double begun = now();
  int fd = connected(&to);
  send_whole(fd, request, sizeof request - 1);
  size_t filled = 0;
  char *end = NULL;
  while (!end && filled < sizeof buffer - 1) {
    ssize_t got = recv(fd, buffer + filled, 1024, 0);
    if (got <= 0) fail("recv");
    filled += (size_t)got;
    buffer[filled] = 0;
    end = strstr((char *)buffer, "\r\n\r\n");
  }
  char *said = strcasestr((char *)buffer, "\r\ncontent-length:");
  if (!end || !said) fail("no length");
  off_t wanted = atoll(said + 17), done = 0;
  size_t part = filled - (size_t)(end + 4 - (char *)buffer);
  memmove(buffer, end + 4, part);
  uint32_t crc = 0;
  for (;;) {
    crc = crc32_of(buffer, part, crc);
    if (pwrite(target, buffer, part, done) != (ssize_t)part) fail("pwrite");
    done += (off_t)part;
    if (done == wanted) break;
    size_t ask = wanted - done < READ_BYTES ? (size_t)(wanted - done) : READ_BYTES;
    ssize_t got = recv(fd, buffer, ask, MSG_WAITALL);
    if (got <= 0) fail("recv");
    part = (size_t)got;
  }
  double seconds = now() - begun;
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("{\"bytes\":%lld,\"seconds\":%.6f,\"cpuSeconds\":%.6f,\"peakBytes\":%ld,\"crc32\":%u}\n", (long long)done, seconds,
         cpu_seconds(&used), used.ru_maxrss * 1024, crc);
  return 0;
}

int main(int count, char **arguments) {
  crc_setup();
  if (count == 3 && !strcmp(arguments[1], "serve")) return serve(arguments[2]);
  if (count == 4 && !strcmp(arguments[1], "get")) return get(atoi(arguments[2]), arguments[3]);
  fprintf(stderr, "origin serve SOURCE | get PORT TARGET\n");
  return 2;
}

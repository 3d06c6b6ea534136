/*
 * A parent that serves many children at once, and the children, which speak the piece protocol of Dragonfly (Vortex) and throw away what they get.
 *
 *   serving serve SOURCE PIECE sendfile                     a thread for each child, sendfile(). Prints {"port":…}; ends when standard input ends.
 *   serving serve SOURCE PIECE copy                         the same with pread() into a small buffer and send(): more work for the parent, but what the child
 *                                                           then copies is in the cache of the processor, so where both share a machine it can be the faster one.
 *                                                           An epoll with a thread for each processor was no faster, with sendfile() or with copies.
 *   serving drain PORT TASK LENGTH PIECE CHILDREN           each child asks for all pieces of the task, one after another, on a connection of its own
 *                                                           that a thread of its own reads into a small buffer. Prints a line of JSON.
 */
#include "common.h"
#include <pthread.h>

#define REQUEST_BYTES 74
#define READ_BYTES (256 << 10)

static int source, port;
static const char *task;
static int copies;
static size_t length, piece_length;
static uint8_t request_tag = 0, content_tag = 1;

static uint64_t big(const uint8_t *at, int bytes) {
  uint64_t value = 0;
  while (bytes--) value = value << 8 | *at++;
  return value;
}

static uint8_t *put(uint8_t *at, uint64_t value, int bytes) {
  while (bytes--) *at++ = (uint8_t)(value >> (8 * bytes));
  return at;
}

static int whole(int fd, uint8_t *into, size_t count) {
  return recv(fd, into, count, MSG_WAITALL) == (ssize_t)count;
}

static void send_copy(int fd, uint8_t *buffer, off_t offset, size_t count) {
  while (count > 0) {
    ssize_t got = pread(source, buffer, count < READ_BYTES ? count : READ_BYTES, offset);
    if (got <= 0) fail("pread");
    send_whole(fd, buffer, (size_t)got);
    offset += got;
    count -= (size_t)got;
  }
}

static void *parent_of(void *of) {
  int fd = (int)(intptr_t)of, one = 1;
  uint8_t request[REQUEST_BYTES], head[128], *buffer = malloc(READ_BYTES);
  static const char digest[] = "crc32:1234567890";
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  while (whole(fd, request, sizeof request)) {
    size_t number = big(request + 70, 4), offset = number * piece_length;
    if (offset >= length) break;
    size_t bytes = length - offset < piece_length ? length - offset : piece_length;
    uint32_t metadata = 45 + sizeof digest - 1;
    uint8_t *at = put(put(put(head, 0, 1), content_tag, 1), metadata + 4, 4);
    at = put(put(put(put(at, metadata, 4), number, 4), offset, 8), bytes, 8);
    at = put(at, sizeof digest - 1, 4);
    memcpy(at, digest, sizeof digest - 1);
    at = put(put(put(put(at + sizeof digest - 1, 0, 4), 1, 1), 0, 8), 0, 8);
    if (send(fd, head, (size_t)(at - head), MSG_NOSIGNAL | MSG_MORE) != at - head) break;
    if (copies) send_copy(fd, buffer, (off_t)offset, bytes);
    else send_file(fd, source, (off_t)offset, bytes);
  }
  free(buffer);
  close(fd);
  return NULL;
}

static void *accepting(void *of) {
  for (;;) {
    pthread_t thread;
    int fd = accept((int)(intptr_t)of, NULL, NULL);
    if (fd < 0) fail("accept");
    errno = pthread_create(&thread, NULL, parent_of, (void *)(intptr_t)fd);
    if (errno) fail("pthread_create");
    pthread_detach(thread);
  }
  return NULL;
}

static void *child_of(void *of) {
  (void)of;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = connected(&to);
  uint8_t request[REQUEST_BYTES], head[4096], *buffer = malloc(READ_BYTES);
  put(put(put(request, 0, 1), request_tag, 1), REQUEST_BYTES - 6, 4);
  memcpy(request + 6, task, 64);
  for (size_t number = 0; number * piece_length < length; number++) {
    put(request + 70, number, 4);
    send_whole(fd, request, sizeof request);
    if (!whole(fd, head, 6)) fail("recv");
    size_t value = big(head + 2, 4);
    if (head[1] != content_tag || value > sizeof head || !whole(fd, head, value)) {
      fprintf(stderr, "piece %zu was refused\n", number);
      exit(1);
    }
    size_t left = big(head + 16, 8);
    size_t wanted = length - number * piece_length < piece_length ? length - number * piece_length : piece_length;
    if (left != wanted) {
      fprintf(stderr, "piece %zu has %zu bytes, not %zu\n", number, left, wanted);
      exit(1);
    }
    while (left > 0) {
      ssize_t got = recv(fd, buffer, left < READ_BYTES ? left : READ_BYTES, MSG_WAITALL);
      if (got <= 0) fail("recv");
      left -= (size_t)got;
    }
  }
  free(buffer);
  close(fd);
  return NULL;
}

static int serve(const char *path) {
  struct sockaddr_in at;
  pthread_t thread;
  char byte;
  source = open(path, O_RDONLY);
  if (source < 0) fail(path);
  length = (size_t)length_of(source);
  int listener = listening(&at);
  pthread_create(&thread, NULL, accepting, (void *)(intptr_t)listener);
  printf("{\"port\":%d}\n", ntohs(at.sin_port));
  fflush(stdout);
  while (read(0, &byte, 1) > 0) continue;
  return 0;
}

static int drain(int children) {
  pthread_t threads[256];
  struct rusage used;
  double begun = now();
  for (int i = 0; i < children; i++) {
    errno = pthread_create(&threads[i], NULL, child_of, NULL);
    if (errno) fail("pthread_create");
  }
  for (int i = 0; i < children; i++) pthread_join(threads[i], NULL);
  double seconds = now() - begun;
  getrusage(RUSAGE_SELF, &used);
  printf("{\"bytes\":%zu,\"seconds\":%.6f,\"cpuSeconds\":%.6f}\n", length * (size_t)children, seconds, cpu_seconds(&used));
  return 0;
}

int main(int count, char **arguments) {
  if (count == 5 && !strcmp(arguments[1], "serve")) {
    copies = !strcmp(arguments[4], "copy");
    piece_length = strtoull(arguments[3], NULL, 10);
    return serve(arguments[2]);
  }
  if (count == 7 && !strcmp(arguments[1], "drain") && strlen(arguments[3]) == 64 && atoi(arguments[6]) <= 256) {
    port = atoi(arguments[2]);
    task = arguments[3];
    length = strtoull(arguments[4], NULL, 10);
    piece_length = strtoull(arguments[5], NULL, 10);
    return drain(atoi(arguments[6]));
  }
  fprintf(stderr, "serving serve SOURCE PIECE sendfile|copy | drain PORT TASK LENGTH PIECE CHILDREN\n");
  return 2;
}

/*
 * Content from parents to a child over TCP on 127.0.0.1, as a plain C program does it: each parent is a process that sends its pieces with sendfile(), the
 * child receives each into memory, checks its CRC-32, and writes it with pwrite(), or leaves it where it is.
 *
 *   transfer SOURCE to-file TARGET     each parent has one connection, one buffer that is used again, and one thread in the child
 *   transfer SOURCE to-memory          one new allocation as long as the content, whose pages are touched by the transfer
 *   transfer SOURCE to-touched         the same, but all pages were touched before the clock starts
 *   transfer SOURCE crc32              only the CRC-32 of the content, and the seconds that it took from memory
 *
 * then, in any order: --parents N (1), --piece BYTES (4 MiB), --read BYTES (what one recv() asks for; 256 KiB, which stays in
 * the cache until it is written), --held (parents send from memory, with send()).
 * Prints a line of JSON: seconds from the first connect() to the last piece, processor time of both sides, peak of resident memory of each.
 */
#include "common.h"
#include "crc32.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

static int source, target = -1, parents = 1, held;
static size_t length, piece_length = 4 << 20, read_length = 256 << 10;
static uint8_t *content, *memory;
static uint32_t *digests;
static struct sockaddr_in addresses[64];

static size_t piece_bytes(size_t number) {
  size_t left = length - number * piece_length;
  return left < piece_length ? left : piece_length;
}

static void parent(int which, int listener) {
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) fail("accept");
  for (size_t number = (size_t)which; number * piece_length < length; number += (size_t)parents) {
    size_t offset = number * piece_length;
    if (held) send_whole(fd, content + offset, piece_bytes(number));
    else send_file(fd, source, (off_t)offset, piece_bytes(number));
  }
  close(fd);
}

static void *child_of(void *of) {
  int which = (int)(intptr_t)of;
  int fd = connected(&addresses[which]);
  uint8_t *buffer = memory ? NULL : malloc(piece_length);
  for (size_t number = (size_t)which; number * piece_length < length; number += (size_t)parents) {
    size_t offset = number * piece_length, wanted = piece_bytes(number), filled = 0, written = 0;
    uint8_t *into = memory ? memory + offset : buffer;
    uint32_t crc = 0;
    while (filled < wanted) {
      size_t ask = wanted - filled < read_length ? wanted - filled : read_length;
      ssize_t got = recv(fd, into + filled, ask, MSG_WAITALL);
      if (got <= 0) fail("recv");
      crc = crc32_of(into + filled, (size_t)got, crc);
      filled += (size_t)got;
      for (; target >= 0 && written < filled;) {
        ssize_t wrote = pwrite(target, into + written, filled - written, (off_t)(offset + written));
        if (wrote < 0) fail("pwrite");
        written += (size_t)wrote;
      }
    }
    if (crc != digests[number]) {
      fprintf(stderr, "piece %zu has another digest\n", number);
      exit(1);
    }
  }
  free(buffer);
  close(fd);
  return NULL;
}

static void child(int touched, int report) {
  pthread_t threads[64];
  if (target < 0) {
    memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    if (touched) memset(memory, 1, length);
  }
  double begun = now();
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  for (int i = 0; i < parents; i++) {
    errno = pthread_create(&threads[i], NULL, child_of, (void *)(intptr_t)i);
    if (errno) fail("pthread_create");
  }
  for (int i = 0; i < parents; i++) pthread_join(threads[i], NULL);
  double took[2] = {now() - begun, 0};
  getrusage(RUSAGE_SELF, &after);
  took[1] = cpu_seconds(&after) - cpu_seconds(&before);
  if (write(report, took, sizeof took) != sizeof took) fail("write");
}

static void options(int count, char **arguments) {
  for (int i = 0; i < count; i++) {
    if (!strcmp(arguments[i], "--held")) held = 1;
    else if (i + 1 == count) continue;
    else if (!strcmp(arguments[i], "--parents")) parents = atoi(arguments[++i]);
    else if (!strcmp(arguments[i], "--piece")) piece_length = strtoull(arguments[++i], NULL, 10);
    else if (!strcmp(arguments[i], "--read")) read_length = strtoull(arguments[++i], NULL, 10);
  }
  if (parents < 1 || parents > 64 || piece_length < 1 || read_length < 1) {
    fprintf(stderr, "1 to 64 parents, pieces and reads of at least a byte\n");
    exit(2);
  }
}

/* The digests of all pieces, in memory that the child shares; this also brings the source into the page cache. */
static void prepare(void) {
  size_t count = (length + piece_length - 1) / piece_length;
  digests = mmap(NULL, count * 4 + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint8_t *buffer = held ? NULL : malloc(piece_length);
  if (held) content = malloc(length);
  for (size_t number = 0; number < count; number++) {
    uint8_t *into = held ? content + number * piece_length : buffer;
    for (size_t filled = 0; filled < piece_bytes(number);) {
      off_t at = (off_t)(number * piece_length + filled);
      ssize_t got = pread(source, into + filled, piece_bytes(number) - filled, at);
      if (got <= 0) fail("pread");
      filled += (size_t)got;
    }
    digests[number] = crc32_of(into, piece_bytes(number), 0);
  }
  free(buffer);
}

int main(int count, char **arguments) {
  if (count < 3) {
    fprintf(stderr, "transfer SOURCE to-file TARGET | to-memory | to-touched | crc32 [--parents N] [--piece B] [--read B] [--held]\n");
    return 2;
  }
  int to_file = !strcmp(arguments[2], "to-file");
  crc_setup();
  options(count - 3, arguments + 3);
  source = open(arguments[1], O_RDONLY);
  if (source < 0) fail(arguments[1]);
  length = (size_t)length_of(source);
  int only_crc = !strcmp(arguments[2], "crc32");
  held |= only_crc;
  prepare();
  if (only_crc) {
    double begun = now();
    uint32_t crc = crc32_of(content, length, 0);
    printf("{\"bytes\":%zu,\"seconds\":%.6f,\"crc32\":%u}\n", length, now() - begun, crc);
    return 0;
  }
  int listeners[64], report[2];
  pid_t processes[64];
  for (int i = 0; i < parents; i++) listeners[i] = listening(&addresses[i]);
  if (pipe(report)) fail("pipe");
  fflush(stdout);
  for (int i = 0; i < parents; i++) {
    if ((processes[i] = fork()) < 0) fail("fork");
    if (processes[i] == 0) {
      parent(i, listeners[i]);
      _exit(0);
    }
  }
  pid_t reader = fork();
  if (reader < 0) fail("fork");
  if (reader == 0) {
    if (to_file) {
      target = open(arguments[3], O_RDWR | O_CREAT | O_TRUNC, 0600);
      if (target < 0) fail(arguments[3]);
    }
    child(!strcmp(arguments[2], "to-touched"), report[1]);
    _exit(0);
  }
  double took[2], parent_cpu = 0;
  long child_peak, parent_peak = 0;
  struct rusage used;
  int status, bad = 0;
  close(report[1]);
  if (read(report[0], took, sizeof took) != sizeof took) return 1;
  wait4(reader, &status, 0, &used);
  bad |= status;
  child_peak = used.ru_maxrss;
  for (int i = 0; i < parents; i++) {
    wait4(processes[i], &status, 0, &used);
    bad |= status;
    parent_cpu += cpu_seconds(&used);
    if (used.ru_maxrss > parent_peak) parent_peak = used.ru_maxrss;
  }
  printf("{\"bytes\":%zu,\"seconds\":%.6f,\"cpuSeconds\":%.6f,\"childCpuSeconds\":%.6f,\"parentCpuSeconds\":%.6f,"
         "\"childPeakBytes\":%ld,\"parentPeakBytes\":%ld}\n",
         length, took[0], took[1] + parent_cpu, took[1], parent_cpu, child_peak * 1024, parent_peak * 1024);
  return bad != 0;
}

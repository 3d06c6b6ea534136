/* Put before the C library of a process (LD_PRELOAD): each write at a position waits until the pipe with the number in GATE has come to its end. So a test has a disk that hangs, for as long as it likes. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SEEN __attribute__((visibility("default")))

static ssize_t write_behind_gate(int file, const void *bytes, size_t length, off_t position) {
  const char *gate = getenv("GATE");
  char nothing;
  while (gate != NULL && read(atoi(gate), &nothing, 1) < 0 && errno == EINTR) continue;
  return syscall(SYS_pwrite64, file, bytes, length, position);
}

SEEN ssize_t pwrite(int file, const void *bytes, size_t length, off_t position) {
  return write_behind_gate(file, bytes, length, position);
}

SEEN ssize_t pwrite64(int file, const void *bytes, size_t length, off_t position) {
  return write_behind_gate(file, bytes, length, position);
}

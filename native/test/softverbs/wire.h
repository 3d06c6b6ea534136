/* What goes over TCP. Both sides are this library on one kind of machine, so structs travel as they are. */
#ifndef SOFTVERBS_WIRE_H
#define SOFTVERBS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HELLO_MAGIC = 0x736f6674 };

/* An answer comes in parts of at most this size, each with its own status: memory may be deregistered in the middle. */
enum { PART_BYTES_MAX = 1 << 20 };

struct hello {
  uint32_t magic;
  uint32_t wanted; /* number of the queue pair to read through */
  uint32_t own;
};

struct request {
  uint64_t address;
  uint64_t length;
  uint32_t key;
  uint32_t zero;
};

struct part {
  uint32_t status;
  uint32_t length;
};

/* All of it or false. */
bool wire_send(int socket, const void *bytes, size_t length);
bool wire_receive(int socket, void *bytes, size_t length);

#endif

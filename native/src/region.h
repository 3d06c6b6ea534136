/* Memory that may be registered. It is shared by all threads of the process, and unmapped when no view, no registration and so no read needs it any more. */
#ifndef RDMA_REGION_H
#define RDMA_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"

/* 2^32: what one ArrayBuffer holds on every supported version of Node.js. */
#define REGION_BYTES_MAX 4294967296.0

struct region {
  char *bytes;
  size_t length; /* as asked for */
  size_t mapped; /* rounded up to pages */
  uint64_t id;   /* never used twice in a process */
  unsigned refs;
  struct region *next;
};

/* With one reference; waits for the kernel, so on the thread pool. NULL with a fault. */
struct region *region_map(size_t length, struct fault *fault);

/* The region that all of these bytes lie in, with one more reference; NULL when there is none. */
struct region *region_around(const void *bytes, size_t length);

/* The region with this number, with one more reference. */
struct region *region_with(uint64_t id);

/* True: this was the last reference, and the caller has to unmap it. */
bool region_release(struct region *region);

/* Waits for the kernel. */
void region_unmap(struct region *region);

#endif

/* What happened in this process, and what is alive; every thread counts. */
#ifndef RDMA_COUNTERS_H
#define RDMA_COUNTERS_H

#include <stdint.h>

#include "fault.h"

struct counters {
  uint64_t registrations;
  uint64_t reads_posted;
  uint64_t reads_done;
  uint64_t reads_failed;
  uint64_t bytes_read;
  uint64_t live_contexts;
  uint64_t live_domains;
  uint64_t live_registrations;
  uint64_t live_queue_pairs;
  uint64_t live_regions;
  uint64_t live_region_bytes;
};

extern struct counters counters;

#define counter_add(name, amount) ((void)__atomic_fetch_add(&counters.name, (uint64_t)(amount), __ATOMIC_RELAXED))
#define counter_subtract(name, amount) ((void)__atomic_fetch_sub(&counters.name, (uint64_t)(amount), __ATOMIC_RELAXED))

/* stats() */
napi_value counters_stats(napi_env env, napi_callback_info info);

#endif

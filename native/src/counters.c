#include "counters.h"

#include "value.h"

struct counters counters;

static napi_value number(napi_env env, const uint64_t *counter) {
  return value_number(env, (double)__atomic_load_n(counter, __ATOMIC_RELAXED));
}

napi_value counters_stats(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value stats = value_object(env);
  value_set(env, stats, "registrations", number(env, &counters.registrations));
  value_set(env, stats, "readsPosted", number(env, &counters.reads_posted));
  value_set(env, stats, "readsDone", number(env, &counters.reads_done));
  value_set(env, stats, "readsFailed", number(env, &counters.reads_failed));
  value_set(env, stats, "bytesRead", number(env, &counters.bytes_read));
  napi_value live = value_object(env);
  value_set(env, live, "contexts", number(env, &counters.live_contexts));
  value_set(env, live, "domains", number(env, &counters.live_domains));
  value_set(env, live, "registrations", number(env, &counters.live_registrations));
  value_set(env, live, "queuePairs", number(env, &counters.live_queue_pairs));
  value_set(env, live, "regions", number(env, &counters.live_regions));
  value_set(env, live, "regionBytes", number(env, &counters.live_region_bytes));
  value_set(env, stats, "live", live);
  return stats;
}

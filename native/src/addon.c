/* What JavaScript sees. The interface, with what each function promises, stands in src/transport/rdma/native.ts. */
#include "arguments.h"
#include "context.h"
#include "counters.h"
#include "domain.h"
#include "environment.h"
#include "queue-pair.h"
#include "read.h"
#include "registration.h"
#include "value.h"
#include "view.h"

/* Of the interface. */
enum { VERSION = 1 };

/* As Linux bounds a path. */
enum { PATH_BYTES_MAX = 4096 };

/* Hash of the sources, given by the build, so that a binary of other sources can be told without a compiler. */
#ifndef RDMA_SOURCES
#define RDMA_SOURCES "unknown"
#endif

static napi_value load(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  char path[PATH_BYTES_MAX];
  struct fault fault = {0};
  if (!arguments_read(env, info, &arguments)) return NULL;
  if (!argument_text(env, arguments.values[0], "path", path, sizeof path)) return NULL;
  if (!verbs_load(path, &fault)) fault_throw(env, &fault);
  return NULL;
}

NAPI_MODULE_INIT() {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {
    {"load", load},
    {"devices", devices_list},
    {"open", context_open},
    {"close", context_close_call},
    {"allocate", view_allocate},
    {"isAllocated", view_is_allocated},
    {"share", view_share},
    {"view", view_of_token},
    {"domain", domain_make},
    {"freeDomain", domain_free_call},
    {"register", registration_make},
    {"deregister", registration_free_call},
    {"queuePair", queue_pair_make},
    {"connect", queue_pair_connect},
    {"abort", queue_pair_abort},
    {"freeQueuePair", queue_pair_free_call},
    {"read", read_post},
    {"stats", counters_stats},
  };
  struct environment *environment = environment_begin(env);
  if (environment == NULL) return NULL;
  for (size_t at = 0; at < sizeof functions / sizeof *functions; at++) {
    napi_value function = NULL;
    napi_create_function(env, functions[at].name, NAPI_AUTO_LENGTH, functions[at].call, environment, &function);
    value_set(env, exports, functions[at].name, function);
  }
  value_set(env, exports, "version", value_number(env, VERSION));
  value_set(env, exports, "sources", value_text(env, RDMA_SOURCES));
  return exports;
}

/* One JavaScript environment: the main thread or a worker that loaded the addon. Everything but regions, counters and the library belongs to one of them, and is touched by its
 * thread only. It goes away in the middle of anything when a worker is terminated: then each open port is torn down, jobs on the thread pool are waited for,
 * and no JavaScript is called any more. */
#ifndef RDMA_ENVIRONMENT_H
#define RDMA_ENVIRONMENT_H

#include <stdbool.h>
#include <uv.h>

#include "fault.h"
#include "list.h"

struct environment {
  napi_env env;
  uv_loop_t *loop;
  napi_async_context async;
  napi_async_cleanup_hook_handle hook;
  napi_ref holds;       /* the symbol of the property by which a handle keeps something alive */
  struct link contexts; /* that are not closed */
  unsigned jobs;        /* on the thread pool */
  unsigned refs;
  bool ending;
};

/* For the time that a callback of the loop may call JavaScript. */
struct scopes {
  napi_env env; /* NULL: there is no JavaScript to call */
  napi_handle_scope handles;
  napi_callback_scope callbacks;
};

/* NULL where JavaScript cannot run any more. */
struct environment *environment_begin(napi_env env);
void environment_hold(struct environment *environment);
void environment_release(struct environment *environment);

/* Its `napi_env`; NULL when JavaScript is not to be called any more. */
napi_env environment_env(const struct environment *environment);

/* Promises that were settled between the two have run what waited for them when `leave` returns. */
void environment_enter(struct environment *environment, struct scopes *scopes);
void environment_leave(struct scopes *scopes);

/* Lets the environment go when it ends and nothing of ours is left in it. */
void environment_advance(struct environment *environment);

/* Zeroed memory for a struct. Running out of memory for so little ends the process, as it does everywhere in Node.js. */
void *memory_for(size_t size);

#endif

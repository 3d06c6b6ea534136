/* An open port with everything in it: domains, registrations, queue pairs. */
#ifndef RDMA_CONTEXT_H
#define RDMA_CONTEXT_H

#include "object.h"
#include "port.h"

/* Each state comes after the one before and is left when what its comment names is over. */
enum context_state {
  CONTEXT_OPEN,
  CONTEXT_CLOSING,    /* jobs of before; nothing new begins */
  CONTEXT_DESTROYING, /* the job that destroys the queue pairs: after it the device touches no memory */
  CONTEXT_UNPOLLING,  /* the loop letting go of the descriptors */
  CONTEXT_FREEING,    /* the job that frees registrations, domains and the port */
  CONTEXT_CLOSED,
};

/* Somebody who waits for `close` or `abort`. */
struct waiter {
  napi_deferred deferred;
  struct waiter *next;
};

struct context {
  struct object object;
  struct link link; /* in the environment, until it is closed */
  struct port port;
  enum context_state state;
  uv_poll_t completions_poll;
  uv_poll_t events_poll;
  unsigned polls; /* that are not closed */
  unsigned jobs;  /* for it or what is in it */
  unsigned reads; /* posted and not settled */
  uint32_t completions_reserved;
  napi_ref on_event; /* weak: its handle keeps the function */
  struct waiter *closers;
  struct link domains;
  struct link registrations;
  struct link queue_pairs;
};

/* open(options) */
napi_value context_open(napi_env env, napi_callback_info info);
/* close(context) */
napi_value context_close_call(napi_env env, napi_callback_info info);

/* Begins to close it; `deferred` (may be NULL) resolves when it is closed. */
void context_close(struct context *context, napi_deferred deferred);

/* Goes on with closing as far as is possible now. May free the context. */
void context_advance(struct context *context);

void waiter_add(struct waiter **waiters, napi_deferred deferred);
/* Resolves all of them. */
void waiters_settle(struct waiter **waiters, napi_env env);

#endif

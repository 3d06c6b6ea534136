/* One end of a reliable connection. */
#ifndef RDMA_QUEUE_PAIR_H
#define RDMA_QUEUE_PAIR_H

#include "domain.h"
#include "registration.h"

/* A READ that was posted. Its address is the number of its work request. */
struct read {
  struct queue_pair *queue_pair;
  struct registration *into;
  napi_deferred deferred;
  struct read *next_free;
  uint32_t length;
  bool posted;
};

struct queue_pair {
  struct object object;
  struct link link; /* in the context, while `qp` is there */
  struct domain *domain;
  struct verbs_qp *qp;
  uint32_t number;
  uint32_t reads_max;
  unsigned reads;        /* on their way */
  uint8_t reads_out;     /* that the connection may really have on its way */
  bool working;          /* a job changes or destroys it */
  bool connect_begun;
  bool connected;
  bool failed;           /* no read can succeed any more */
  bool abort_wanted;
  bool aborted;          /* it is in state ERR because of that */
  bool freed;            /* or about to be */
  bool gone;             /* and every read settled */
  struct waiter *aborters;
  napi_deferred free_deferred;
  struct read *free_reads;
  struct read slots[];
};

/* queuePair(domain, options) */
napi_value queue_pair_make(napi_env env, napi_callback_info info);
/* connect(queuePair, remote) */
napi_value queue_pair_connect(napi_env env, napi_callback_info info);
/* abort(queuePair) */
napi_value queue_pair_abort(napi_env env, napi_callback_info info);
/* freeQueuePair(queuePair) */
napi_value queue_pair_free_call(napi_env env, napi_callback_info info);

/* Does what is wanted and possible now. */
void queue_pair_advance(struct queue_pair *queue_pair, napi_env env);

/* It is destroyed, or its context is closed: settles what still waits. */
void queue_pair_gone(struct queue_pair *queue_pair, napi_env env);

/* Why nothing can be done with it any more; NULL: it is fine. */
const char *queue_pair_refusal(const struct queue_pair *queue_pair);

#endif

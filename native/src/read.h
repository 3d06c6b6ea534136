/* One-sided READs. */
#ifndef RDMA_READ_H
#define RDMA_READ_H

#include "queue-pair.h"

/* read(queuePair, into, from) */
napi_value read_post(napi_env env, napi_callback_info info);

/* Settles the read of this completion. */
void read_completed(const struct verbs_wc *completion, napi_env env);

/* Rejects all reads of a queue pair that is gone. */
void read_flush_all(struct queue_pair *queue_pair, napi_env env);

#endif

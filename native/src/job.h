/* Work for the thread pool: whatever may wait in the kernel. */
#ifndef RDMA_JOB_H
#define RDMA_JOB_H

#include "object.h"

struct job {
  uv_work_t request;
  struct environment *environment;
  struct object *subject; /* what it is for; held and pinned meanwhile. May be NULL */
  napi_deferred deferred; /* NULL: nobody waits */
  struct fault fault;
  void (*work)(struct job *job);               /* on the thread pool, without Node-API */
  void (*done)(struct job *job, napi_env env); /* on the thread of the environment; `env` is NULL when that ends */
};

/* A struct of this size that begins with a `struct job`. */
void *job_new(size_t size, struct environment *environment, struct object *subject);

/* Starts it, and frees it afterwards. */
void job_start(struct job *job);

/* The same with a promise; NULL, and nothing started, where there is no JavaScript any more. */
napi_value job_promise(napi_env env, struct job *job);

#endif

/* A protection domain: the keys of one are worth nothing in another. */
#ifndef RDMA_DOMAIN_H
#define RDMA_DOMAIN_H

#include "context.h"

struct domain {
  struct object object;
  struct link link; /* in the context, while `pd` is there */
  struct context *context;
  struct verbs_pd *pd;
  unsigned children; /* registrations and queue pairs, with those that are being made */
  bool freed;        /* or about to be */
};

/* domain(context) */
napi_value domain_make(napi_env env, napi_callback_info info);
/* freeDomain(domain) */
napi_value domain_free_call(napi_env env, napi_callback_info info);

/* Frees it when its handle was collected and nothing is left in it. */
void domain_advance(struct domain *domain);

/* Its context is closed, and it with it. */
void domain_gone(struct domain *domain);

/* Why nothing can be made in it or done with it any more; NULL: it is fine. */
const char *domain_refusal(const struct domain *domain);

#endif

/* A part of a region that a device may reach. */
#ifndef RDMA_REGISTRATION_H
#define RDMA_REGISTRATION_H

#include "domain.h"
#include "region.h"

struct registration {
  struct object object;
  struct link link; /* in the context, while `mr` is there */
  struct domain *domain;
  struct region *region; /* holds a reference */
  struct verbs_mr *mr;
  uint64_t address;
  uint64_t length;
  uint32_t local_key;
  unsigned reads; /* into it, on their way */
  bool local;     /* reads may write into it; else others may read it */
  bool freed;     /* or about to be */
};

/* register(domain, buffer, byteOffset, byteLength, access) */
napi_value registration_make(napi_env env, napi_callback_info info);
/* deregister(registration) */
napi_value registration_free_call(napi_env env, napi_callback_info info);

/* It is deregistered, or its context is closed. Where the device could not be made to let go of the memory (`mr` is still there), that stays mapped. */
void registration_gone(struct registration *registration);

#endif

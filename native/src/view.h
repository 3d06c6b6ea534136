/* ArrayBuffers over regions. */
#ifndef RDMA_VIEW_H
#define RDMA_VIEW_H

#include "environment.h"
#include "region.h"

/* Gives one reference back, and unmaps the region on the thread pool when it was the last. */
void view_release(struct environment *environment, struct region *region);

/* allocate(byteLength) */
napi_value view_allocate(napi_env env, napi_callback_info info);
/* isAllocated(buffer) */
napi_value view_is_allocated(napi_env env, napi_callback_info info);
/* share(buffer) */
napi_value view_share(napi_env env, napi_callback_info info);
/* view(token) */
napi_value view_of_token(napi_env env, napi_callback_info info);

#endif

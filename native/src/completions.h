/* Completions of reads, as the event loop hears of them: no thread, no timer, no busy waiting. */
#ifndef RDMA_COMPLETIONS_H
#define RDMA_COMPLETIONS_H

#include "context.h"

void completions_ready(uv_poll_t *poll, int status, int events);

/* Settles every read whose completion is there. */
void completions_drain(struct context *context, napi_env env);

#endif

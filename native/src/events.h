/* What the device says about itself: ports that go down, queue pairs that fail, its own end. */
#ifndef RDMA_EVENTS_H
#define RDMA_EVENTS_H

#include "context.h"

void events_ready(uv_poll_t *poll, int status, int events);

/* Tells that the device does not answer any more, as an event of type 8. */
void events_device_gone(struct context *context, napi_env env);

#endif

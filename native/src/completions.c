#include "completions.h"

#include "events.h"
#include "read.h"

/* How many completions one call takes. */
enum { BATCH = 32 };

/* Takes the events of the channel and asks for the next one. That comes BEFORE draining: a completion that arrives after the drain then makes an event again. */
static bool rearm(struct context *context) {
  struct verbs_cq *queue = NULL;
  void *own = NULL;
  unsigned count = 0;
  while (verbs.get_cq_event(context->port.channel, &queue, &own) == 0) count++;
  if (count == 0) return true;
  verbs.ack_cq_events(context->port.completions, count);
  return context->port.device->req_notify_cq(context->port.completions, 0) == 0;
}

void completions_drain(struct context *context, napi_env env) {
  struct verbs_wc batch[BATCH];
  int count = 0;
  while ((count = context->port.device->poll_cq(context->port.completions, BATCH, batch)) > 0) {
    for (int at = 0; at < count; at++) read_completed(&batch[at], env);
  }
}

void completions_ready(uv_poll_t *poll, int status, int events) {
  (void)events;
  struct context *context = poll->data;
  /* Closing takes what is left by itself. */
  if (context->state != CONTEXT_OPEN) return;
  struct scopes scopes;
  object_hold(&context->object);
  environment_enter(context->object.environment, &scopes);
  if (status < 0 || !rearm(context)) events_device_gone(context, scopes.env);
  completions_drain(context, scopes.env);
  environment_leave(&scopes);
  object_release(&context->object);
}

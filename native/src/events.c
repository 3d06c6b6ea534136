#include "events.h"

#include "value.h"

/* Events that are taken in one turn of the loop; more are taken in the next. */
enum { EVENTS_PER_TURN = 64 };

static void tell(struct context *context, napi_env env, int type, uint32_t queue_pair) {
  napi_value function = NULL;
  if (env == NULL || context->on_event == NULL) return;
  if (napi_get_reference_value(env, context->on_event, &function) != napi_ok || function == NULL) return;
  napi_value event = value_object(env);
  value_set(env, event, "type", value_number(env, type));
  value_set(env, event, "queuePair", value_number(env, queue_pair));
  napi_value receiver = value_undefined(env);
  if (event == NULL || receiver == NULL) return;
  if (napi_call_function(env, receiver, function, 1, &event, NULL) != napi_pending_exception) return;
  /* It threw: an uncaught exception of the process, as with every callback. */
  napi_value error = NULL;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

static bool of_queue_pair(int type) {
  return (type >= VERBS_EVENT_QP_FATAL && type <= VERBS_EVENT_PATH_MIG_ERR) || type == VERBS_EVENT_QP_LAST_WQE_REACHED;
}

static bool of_port(int type) {
  return (type >= VERBS_EVENT_PORT_ACTIVE && type <= VERBS_EVENT_SM_CHANGE) || type == VERBS_EVENT_CLIENT_REREGISTER ||
         type == VERBS_EVENT_GID_CHANGE;
}

static void take_all(struct context *context, napi_env env) {
  struct verbs_async_event event;
  for (int taken = 0; taken < EVENTS_PER_TURN; taken++) {
    if (context->state != CONTEXT_OPEN || verbs.get_async_event(context->port.device, &event) != 0) return;
    int type = event.event_type;
    bool ours = !of_port(type) || event.element.port_num == context->port.number;
    uint32_t queue_pair = of_queue_pair(type) ? event.element.qp->qp_num : 0;
    /* At once: destroying a queue pair waits for this. */
    verbs.ack_async_event(&event);
    if (ours) tell(context, env, type, queue_pair);
  }
}

void events_ready(uv_poll_t *poll, int status, int events) {
  (void)events;
  struct context *context = poll->data;
  struct scopes scopes;
  object_hold(&context->object);
  environment_enter(context->object.environment, &scopes);
  if (status < 0) {
    if (context->state == CONTEXT_OPEN) events_device_gone(context, scopes.env);
  } else {
    take_all(context, scopes.env);
  }
  environment_leave(&scopes);
  object_release(&context->object);
}

void events_device_gone(struct context *context, napi_env env) {
  tell(context, env, VERBS_EVENT_DEVICE_FATAL, 0);
}

#include "context.h"

#include <stdlib.h>

#include "arguments.h"
#include "completions.h"
#include "counters.h"
#include "events.h"
#include "job.h"
#include "value.h"

struct open_job {
  struct job job;
  struct port_choice choice;
  struct port port;
  napi_ref on_event; /* strong until the handle keeps the function */
};

static void work_open(struct job *job) {
  struct open_job *opening = (struct open_job *)job;
  port_open(&opening->port, &opening->choice, &job->fault);
}

static void on_abandoned(struct object *object) {
  context_close((struct context *)object, NULL);
}

static bool poll_begin(struct context *context, uv_poll_t *poll, int descriptor, uv_poll_cb callback, struct fault *fault) {
  int error = uv_poll_init(context->object.environment->loop, poll, descriptor);
  if (error == 0) {
    context->polls++;
    poll->data = context;
    uv_unref((uv_handle_t *)poll);
    error = uv_poll_start(poll, UV_READABLE, callback);
  }
  if (error != 0) fault_errno(fault, ERR_OPEN, "uv_poll", -error);
  return error == 0;
}

static struct context *context_new(struct environment *environment, const struct port *port) {
  struct context *context = memory_for(sizeof *context);
  object_begin(&context->object, OBJECT_CONTEXT, environment, NULL);
  context->object.on_abandoned = on_abandoned;
  context->port = *port;
  list_begin(&context->domains);
  list_begin(&context->registrations);
  list_begin(&context->queue_pairs);
  list_add(&environment->contexts, &context->link);
  counter_add(live_contexts, 1);
  return context;
}

static napi_value handle_of(napi_env env, struct context *context, napi_ref on_event) {
  const struct port *port = &context->port;
  napi_value function = NULL;
  if (napi_get_reference_value(env, on_event, &function) != napi_ok) return NULL;
  if (napi_create_reference(env, function, 0, &context->on_event) != napi_ok) return NULL;
  const napi_property_descriptor properties[] = {
    {.utf8name = "lid", .value = value_number(env, port->lid), .attributes = napi_enumerable},
    {.utf8name = "gid", .value = value_bytes(env, port->gid.raw, sizeof port->gid.raw), .attributes = napi_enumerable},
    {.utf8name = "mtu", .value = value_number(env, port->mtu), .attributes = napi_enumerable},
    {.utf8name = "readsOutMax", .value = value_number(env, port->reads_out_max), .attributes = napi_enumerable},
    {.utf8name = "readsInMax", .value = value_number(env, port->reads_in_max), .attributes = napi_enumerable},
    {.utf8name = "readsPostedMax", .value = value_number(env, port->reads_posted_max), .attributes = napi_enumerable},
    {.utf8name = "readBytesMax", .value = value_number(env, port->read_bytes_max), .attributes = napi_enumerable},
  };
  return object_handle(env, &context->object, function, properties, sizeof properties / sizeof *properties);
}

static void done_open(struct job *job, napi_env env) {
  struct open_job *opening = (struct open_job *)job;
  if (job->fault.code != NULL) {
    promise_reject(env, job->deferred, &job->fault);
  } else {
    struct context *context = context_new(job->environment, &opening->port);
    napi_value handle = NULL;
    bool ok = env != NULL &&
              poll_begin(context, &context->completions_poll, context->port.channel->fd, completions_ready, &job->fault) &&
              poll_begin(context, &context->events_poll, context->port.device->async_fd, events_ready, &job->fault) &&
              (handle = handle_of(env, context, opening->on_event)) != NULL;
    if (ok) {
      promise_resolve(env, job->deferred, handle);
    } else {
      if (job->fault.code != NULL) promise_reject(env, job->deferred, &job->fault);
      context_close(context, NULL);
    }
  }
  if (env != NULL) napi_delete_reference(env, opening->on_event);
}

napi_value context_open(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  struct port_choice choice = {0};
  napi_value device, port, gid_index, on_event;
  uint64_t port_number = 0;
  uint64_t gid_number = 0;
  if (!arguments_read(env, info, &arguments)) return NULL;
  napi_value options = arguments.values[0];
  bool ok = argument_object(env, options, "options") && argument_property(env, options, "device", &device) &&
            argument_property(env, options, "port", &port) && argument_property(env, options, "gidIndex", &gid_index) &&
            argument_property(env, options, "onEvent", &on_event) &&
            argument_text(env, device, "device", choice.device, sizeof choice.device) &&
            argument_whole(env, port, "port", 1, 255, &port_number) && argument_whole(env, gid_index, "gidIndex", 0, 255, &gid_number) &&
            argument_function(env, on_event, "onEvent");
  if (!ok) return NULL;
  if (!verbs_loaded()) return promise_refused(env, ERR_UNAVAILABLE, "No verbs library is loaded yet");
  choice.port = (uint8_t)port_number;
  choice.gid_index = (uint8_t)gid_number;
  napi_ref function = NULL;
  if (napi_create_reference(env, on_event, 1, &function) != napi_ok) return NULL;
  struct open_job *opening = job_new(sizeof *opening, arguments.environment, NULL);
  opening->choice = choice;
  opening->on_event = function;
  opening->job.work = work_open;
  opening->job.done = done_open;
  return job_promise(env, &opening->job);
}

napi_value context_close_call(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  napi_deferred deferred = NULL;
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct context *context = object_of(env, arguments.values[0], OBJECT_CONTEXT, "context");
  if (context == NULL) return NULL;
  napi_value promise = promise_begin(env, &deferred);
  if (promise == NULL) return NULL;
  context_close(context, deferred);
  return promise;
}

void waiter_add(struct waiter **waiters, napi_deferred deferred) {
  struct waiter *waiter = memory_for(sizeof *waiter);
  *waiter = (struct waiter){deferred, *waiters};
  *waiters = waiter;
}

void waiters_settle(struct waiter **waiters, napi_env env) {
  struct waiter *waiter = *waiters;
  *waiters = NULL;
  while (waiter != NULL) {
    struct waiter *next = waiter->next;
    promise_resolve(env, waiter->deferred, NULL);
    free(waiter);
    waiter = next;
  }
}

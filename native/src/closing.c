/* How a context is closed, also when its thread is ended in the middle of anything: queue pairs first (after that the device touches no memory), then registrations, then
 * domains, then the completion queue and the device. What waits in the kernel runs on the thread pool; each step begins when the one before is over. */
#include "completions.h"
#include "context.h"
#include "counters.h"
#include "domain.h"
#include "job.h"
#include "queue-pair.h"
#include "registration.h"
#include "value.h"

static void done_step(struct job *job, napi_env env) {
  (void)job;
  (void)env;
  /* What comes next is done when the job is off the context's count: context_advance. */
}

static void start_step(struct context *context, void (*work)(struct job *)) {
  struct job *job = job_new(sizeof *job, context->object.environment, &context->object);
  job->work = work;
  job->done = done_step;
  job_start(job);
}

/* On the thread pool. Nobody else looks at the lists in the states in which the steps run. */
static void work_destroy_queue_pairs(struct job *job) {
  struct context *context = (struct context *)job->subject;
  struct link *end = &context->queue_pairs;
  for (struct link *link = end->next; link != end; link = link->next) {
    struct queue_pair *queue_pair = list_item(link, struct queue_pair, link);
    verbs.destroy_qp(queue_pair->qp);
  }
}

/* What cannot be freed is not: a region that a device may still write to stays mapped. */
static void work_free_rest(struct job *job) {
  struct context *context = (struct context *)job->subject;
  struct link *end = &context->registrations;
  for (struct link *link = end->next; link != end; link = link->next) {
    struct registration *registration = list_item(link, struct registration, link);
    if (verbs.dereg_mr(registration->mr) == 0) registration->mr = NULL;
  }
  end = &context->domains;
  for (struct link *link = end->next; link != end; link = link->next) {
    struct domain *domain = list_item(link, struct domain, link);
    if (verbs.dealloc_pd(domain->pd) == 0) domain->pd = NULL;
  }
  port_close(&context->port);
}

static void on_unpolled(uv_handle_t *handle) {
  struct context *context = handle->data;
  context->polls--;
  context_advance(context);
}

static void unpoll(uv_poll_t *poll) {
  if (poll->data == NULL) return; /* It never began. */
  uv_poll_stop(poll);
  uv_close((uv_handle_t *)poll, on_unpolled);
}

/* What came before the end has come; the rest never will. */
static void settle_reads(struct context *context) {
  napi_env env = environment_env(context->object.environment);
  completions_drain(context, env);
  while (!list_empty(&context->queue_pairs)) {
    queue_pair_gone(list_item(context->queue_pairs.next, struct queue_pair, link), env);
  }
}

static void let_everything_go(struct context *context) {
  while (!list_empty(&context->registrations)) {
    registration_gone(list_item(context->registrations.next, struct registration, link));
  }
  while (!list_empty(&context->domains)) {
    domain_gone(list_item(context->domains.next, struct domain, link));
  }
}

static void settle_close(struct context *context, napi_env env) {
  if (env != NULL && context->on_event != NULL) napi_delete_reference(env, context->on_event);
  context->on_event = NULL;
  waiters_settle(&context->closers, env);
}

void context_close(struct context *context, napi_deferred deferred) {
  if (deferred != NULL) waiter_add(&context->closers, deferred);
  if (context->state == CONTEXT_OPEN) {
    context->state = CONTEXT_CLOSING;
    context_advance(context);
  } else if (context->state == CONTEXT_CLOSED) {
    waiters_settle(&context->closers, environment_env(context->object.environment));
  }
}

void context_advance(struct context *context) {
  if (context->jobs > 0) return;
  switch (context->state) {
    case CONTEXT_OPEN:
    case CONTEXT_CLOSED:
      return;
    case CONTEXT_CLOSING:
      context->state = CONTEXT_DESTROYING;
      start_step(context, work_destroy_queue_pairs);
      return;
    case CONTEXT_DESTROYING:
      context->state = CONTEXT_UNPOLLING;
      settle_reads(context);
      unpoll(&context->completions_poll);
      unpoll(&context->events_poll);
      if (context->polls > 0) return;
      /* fall through */
    case CONTEXT_UNPOLLING:
      if (context->polls > 0) return;
      context->state = CONTEXT_FREEING;
      start_step(context, work_free_rest);
      return;
    case CONTEXT_FREEING:
      context->state = CONTEXT_CLOSED;
      let_everything_go(context);
      list_remove(&context->link);
      counter_subtract(live_contexts, 1);
      settle_close(context, environment_env(context->object.environment));
      object_release(&context->object);
      return;
  }
}

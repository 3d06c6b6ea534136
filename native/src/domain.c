#include "domain.h"

#include <errno.h>

#include "arguments.h"
#include "counters.h"
#include "job.h"
#include "value.h"

struct domain_job {
  struct job job;
  struct verbs_pd *pd; /* the new one; or what is left of the old one */
};

static void on_abandoned(struct object *object) {
  domain_advance((struct domain *)object);
}

static void work_make(struct job *job) {
  struct domain_job *making = (struct domain_job *)job;
  making->pd = verbs.alloc_pd(((struct context *)job->subject)->port.device);
  if (making->pd == NULL) fault_errno(&job->fault, ERR_OPEN, "ibv_alloc_pd", errno);
}

static struct domain *domain_new(struct context *context, struct verbs_pd *pd) {
  struct domain *domain = memory_for(sizeof *domain);
  object_begin(&domain->object, OBJECT_DOMAIN, context->object.environment, &context->object);
  domain->object.on_abandoned = on_abandoned;
  domain->context = context;
  domain->pd = pd;
  list_add(&context->domains, &domain->link);
  counter_add(live_domains, 1);
  return domain;
}

static void done_make(struct job *job, napi_env env) {
  struct context *context = (struct context *)job->subject;
  struct domain_job *making = (struct domain_job *)job;
  if (job->fault.code == NULL) {
    struct domain *domain = domain_new(context, making->pd);
    if (context->state == CONTEXT_OPEN) {
      napi_value handle = object_handle(env, &domain->object, object_value(env, &context->object), NULL, 0);
      if (handle != NULL) promise_resolve(env, job->deferred, handle);
      return;
    }
    fault_set(&job->fault, ERR_CLOSED, "The context is closed");
  }
  promise_reject(env, job->deferred, &job->fault);
}

napi_value domain_make(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct context *context = object_of(env, arguments.values[0], OBJECT_CONTEXT, "context");
  if (context == NULL) return NULL;
  if (context->state != CONTEXT_OPEN) return promise_refused(env, ERR_CLOSED, "The context is closed");
  struct domain_job *making = job_new(sizeof *making, arguments.environment, &context->object);
  making->job.work = work_make;
  making->job.done = done_make;
  return job_promise(env, &making->job);
}

static void work_free(struct job *job) {
  int error = verbs.dealloc_pd(((struct domain *)job->subject)->pd);
  if (error != 0) fault_errno(&job->fault, ERR_BUSY, "ibv_dealloc_pd", error);
}

static void done_free(struct job *job, napi_env env) {
  struct domain *domain = (struct domain *)job->subject;
  if (job->fault.code != NULL) {
    domain->freed = false;
    promise_reject(env, job->deferred, &job->fault);
    return;
  }
  domain->pd = NULL;
  domain_gone(domain);
  promise_resolve(env, job->deferred, NULL);
}

static struct job *free_job(struct domain *domain) {
  struct job *job = job_new(sizeof *job, domain->object.environment, &domain->object);
  job->work = work_free;
  job->done = done_free;
  domain->freed = true;
  return job;
}

napi_value domain_free_call(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct domain *domain = object_of(env, arguments.values[0], OBJECT_DOMAIN, "domain");
  if (domain == NULL) return NULL;
  const char *refusal = domain_refusal(domain);
  if (refusal != NULL) return promise_refused(env, ERR_CLOSED, refusal);
  if (domain->children > 0) return promise_refused(env, ERR_BUSY, "Registrations or queue pairs are left in the domain");
  return job_promise(env, free_job(domain));
}

void domain_advance(struct domain *domain) {
  if (!domain->object.abandoned || domain->children > 0 || domain_refusal(domain) != NULL) return;
  job_start(free_job(domain));
}

void domain_gone(struct domain *domain) {
  domain->freed = true;
  list_remove(&domain->link);
  counter_subtract(live_domains, 1);
  object_release(&domain->object);
}

const char *domain_refusal(const struct domain *domain) {
  if (domain->context->state != CONTEXT_OPEN) return "The context is closed";
  return domain->freed ? "The domain is freed" : NULL;
}

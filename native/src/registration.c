#include "registration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "counters.h"
#include "job.h"
#include "value.h"
#include "view.h"

struct register_job {
  struct job job;
  struct region *region;
  char *bytes;
  size_t length;
  bool local;
  struct verbs_mr *mr;
};

static void work_make(struct job *job) {
  struct register_job *making = (struct register_job *)job;
  int access = making->local ? VERBS_ACCESS_LOCAL_WRITE : VERBS_ACCESS_REMOTE_READ;
  making->mr = verbs.reg_mr(((struct domain *)job->subject)->pd, making->bytes, making->length, access);
  if (making->mr == NULL) fault_errno(&job->fault, ERR_REGISTER, "ibv_reg_mr", errno);
}

static struct job *free_job(struct registration *registration);

static void on_abandoned(struct object *object) {
  struct registration *registration = (struct registration *)object;
  /* Its reads are over: they would have kept the handle. */
  if (!registration->freed && registration->domain->context->state == CONTEXT_OPEN) job_start(free_job(registration));
}

static struct registration *registration_new(struct domain *domain, const struct register_job *making) {
  struct registration *registration = memory_for(sizeof *registration);
  object_begin(&registration->object, OBJECT_REGISTRATION, domain->object.environment, &domain->object);
  registration->object.on_abandoned = on_abandoned;
  registration->domain = domain;
  registration->region = making->region;
  registration->mr = making->mr;
  registration->address = (uint64_t)(uintptr_t)making->bytes;
  registration->length = making->length;
  registration->local_key = making->mr->lkey;
  registration->local = making->local;
  list_add(&domain->context->registrations, &registration->link);
  counter_add(registrations, 1);
  counter_add(live_registrations, 1);
  return registration;
}

static napi_value handle_of(napi_env env, struct registration *registration) {
  if (env == NULL) return object_handle(env, &registration->object, NULL, NULL, 0);
  const napi_property_descriptor properties[] = {
    {.utf8name = "address", .value = value_bigint(env, registration->address), .attributes = napi_enumerable},
    {.utf8name = "remoteKey", .value = value_number(env, registration->mr->rkey), .attributes = napi_enumerable},
    {.utf8name = "byteLength", .value = value_number(env, (double)registration->length), .attributes = napi_enumerable},
  };
  napi_value domain = object_value(env, &registration->domain->object);
  return object_handle(env, &registration->object, domain, properties, sizeof properties / sizeof *properties);
}

static void done_make(struct job *job, napi_env env) {
  struct domain *domain = (struct domain *)job->subject;
  struct register_job *making = (struct register_job *)job;
  if (job->fault.code == NULL) {
    struct registration *registration = registration_new(domain, making);
    if (domain->context->state == CONTEXT_OPEN) {
      napi_value handle = handle_of(env, registration);
      if (handle != NULL) promise_resolve(env, job->deferred, handle);
      return;
    }
    fault_set(&job->fault, ERR_CLOSED, "The context is closed");
  } else {
    domain->children--;
    view_release(job->environment, making->region);
  }
  promise_reject(env, job->deferred, &job->fault);
}

static bool argument_access(napi_env env, napi_value value, bool *local) {
  char text[16];
  if (!argument_text(env, value, "access", text, sizeof text)) return false;
  *local = strcmp(text, "local") == 0;
  return *local || strcmp(text, "remoteRead") == 0 || refuse_range(env, "`access` must be 'local' or 'remoteRead'");
}

napi_value registration_make(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  const napi_value *values = arguments.values;
  void *bytes = NULL;
  size_t size = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  bool local = false;
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct domain *domain = object_of(env, values[0], OBJECT_DOMAIN, "domain");
  if (domain == NULL || !argument_buffer(env, values[1], "buffer", &bytes, &size)) return NULL;
  struct region *region = region_around(bytes, size);
  if (region == NULL) {
    refuse_type(env, "`buffer` must come from allocate()");
    return NULL;
  }
  bool ok = argument_whole(env, values[2], "byteOffset", 0, (double)size - 1, &offset) &&
            argument_whole(env, values[3], "byteLength", 1, (double)(size - offset), &length) &&
            argument_access(env, values[4], &local);
  const char *refusal = domain_refusal(domain);
  if (!ok || refusal != NULL) {
    view_release(arguments.environment, region);
    return ok ? promise_refused(env, ERR_CLOSED, refusal) : NULL;
  }
  struct register_job *making = job_new(sizeof *making, arguments.environment, &domain->object);
  making->region = region;
  making->bytes = (char *)bytes + offset;
  making->length = (size_t)length;
  making->local = local;
  making->job.work = work_make;
  making->job.done = done_make;
  napi_value promise = promise_begin(env, &making->job.deferred);
  if (promise == NULL) {
    view_release(arguments.environment, region);
    free(making);
    return NULL;
  }
  domain->children++;
  job_start(&making->job);
  return promise;
}

static void work_free(struct job *job) {
  int error = verbs.dereg_mr(((struct registration *)job->subject)->mr);
  if (error != 0) fault_errno(&job->fault, ERR_REGISTER, "ibv_dereg_mr", error);
}

static void done_free(struct job *job, napi_env env) {
  struct registration *registration = (struct registration *)job->subject;
  if (job->fault.code != NULL) {
    registration->freed = false;
    promise_reject(env, job->deferred, &job->fault);
    return;
  }
  registration->mr = NULL;
  registration_gone(registration);
  promise_resolve(env, job->deferred, NULL);
}

static struct job *free_job(struct registration *registration) {
  struct job *job = job_new(sizeof *job, registration->object.environment, &registration->object);
  job->work = work_free;
  job->done = done_free;
  registration->freed = true;
  return job;
}

napi_value registration_free_call(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct registration *registration = object_of(env, arguments.values[0], OBJECT_REGISTRATION, "registration");
  if (registration == NULL) return NULL;
  if (registration->freed) return promise_refused(env, ERR_CLOSED, "The registration is freed");
  if (registration->domain->context->state != CONTEXT_OPEN) return promise_refused(env, ERR_CLOSED, "The context is closed");
  if (registration->reads > 0) return promise_refused(env, ERR_BUSY, "Reads into the registration are on their way");
  return job_promise(env, free_job(registration));
}

void registration_gone(struct registration *registration) {
  struct domain *domain = registration->domain;
  registration->freed = true;
  list_remove(&registration->link);
  counter_subtract(live_registrations, 1);
  if (registration->mr == NULL) view_release(registration->object.environment, registration->region);
  domain->children--;
  domain_advance(domain);
  object_release(&registration->object);
}

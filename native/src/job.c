#include "job.h"

#include <stdlib.h>

#include "context.h"
#include "value.h"

void *job_new(size_t size, struct environment *environment, struct object *subject) {
  struct job *job = memory_for(size);
  job->environment = environment;
  job->subject = subject;
  return job;
}

static void on_work(uv_work_t *request) {
  struct job *job = request->data;
  job->work(job);
}

static void let_go(struct object *subject) {
  struct context *context = object_context(subject);
  object_unpin(subject);
  context->jobs--;
  context_advance(context);
  object_release(subject);
}

static void on_done(uv_work_t *request, int status) {
  (void)status; /* Nothing cancels it. */
  struct job *job = request->data;
  struct environment *environment = job->environment;
  struct scopes scopes;
  environment_enter(environment, &scopes);
  job->done(job, scopes.env);
  if (job->subject != NULL) let_go(job->subject);
  environment_leave(&scopes);
  free(job);
  environment->jobs--;
  /* May free the environment. */
  environment_advance(environment);
}

void job_start(struct job *job) {
  job->environment->jobs++;
  if (job->subject != NULL) {
    object_hold(job->subject);
    object_pin(job->subject);
    object_context(job->subject)->jobs++;
  }
  job->request.data = job;
  uv_queue_work(job->environment->loop, &job->request, on_work, on_done);
}

napi_value job_promise(napi_env env, struct job *job) {
  napi_value promise = promise_begin(env, &job->deferred);
  if (promise == NULL) {
    free(job);
    return NULL;
  }
  job_start(job);
  return promise;
}

#include "view.h"

#include <stdlib.h>

#include "arguments.h"
#include "job.h"
#include "value.h"

struct view {
  struct region *region;
  struct environment *environment;
};

struct region_job {
  struct job job;
  size_t length;
  struct region *region;
};

static void work_unmap(struct job *job) {
  region_unmap(((struct region_job *)job)->region);
}

static void done_nothing(struct job *job, napi_env env) {
  (void)job;
  (void)env;
}

void view_release(struct environment *environment, struct region *region) {
  if (!region_release(region)) return;
  if (environment->ending) {
    region_unmap(region);
    return;
  }
  struct region_job *unmap = job_new(sizeof *unmap, environment, NULL);
  unmap->region = region;
  unmap->job.work = work_unmap;
  unmap->job.done = done_nothing;
  job_start(&unmap->job);
}

static void on_collected(napi_env env, void *bytes, void *hint) {
  (void)env;
  (void)bytes;
  struct view *view = hint;
  view_release(view->environment, view->region);
  environment_release(view->environment);
  free(view);
}

/* Takes over one reference to the region. NULL with a fault, or where there is no JavaScript any more. */
static napi_value make(napi_env env, struct environment *environment, struct region *region, struct fault *fault) {
  struct view *view = memory_for(sizeof *view);
  *view = (struct view){region, environment};
  environment_hold(environment);
  napi_value buffer = NULL;
  napi_status status = env == NULL ? napi_closing
                                   : napi_create_external_arraybuffer(env, region->bytes, region->length, on_collected, view, &buffer);
  if (status == napi_ok) return buffer;
  bool pending = false;
  if (env != NULL) napi_is_exception_pending(env, &pending);
  /* Failing later than at its first check, the call has taken over the memory already, and its finalizer runs. */
  if (!pending && status != napi_generic_failure) on_collected(env, NULL, view);
  fault_set(fault, ERR_MEMORY, "This program does not allow memory of addons in an ArrayBuffer (status %d)", (int)status);
  return NULL;
}

static void work_allocate(struct job *job) {
  struct region_job *allocate = (struct region_job *)job;
  allocate->region = region_map(allocate->length, &job->fault);
}

static void done_allocate(struct job *job, napi_env env) {
  struct region *region = ((struct region_job *)job)->region;
  napi_value buffer = region == NULL ? NULL : make(env, job->environment, region, &job->fault);
  if (buffer == NULL) {
    promise_reject(env, job->deferred, &job->fault);
  } else {
    promise_resolve(env, job->deferred, buffer);
  }
}

napi_value view_allocate(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  uint64_t length = 0;
  if (!arguments_read(env, info, &arguments)) return NULL;
  if (!argument_whole(env, arguments.values[0], "byteLength", 1, REGION_BYTES_MAX, &length)) return NULL;
  struct region_job *allocate = job_new(sizeof *allocate, arguments.environment, NULL);
  allocate->length = (size_t)length;
  allocate->job.work = work_allocate;
  allocate->job.done = done_allocate;
  return job_promise(env, &allocate->job);
}

napi_value view_is_allocated(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  bool buffer = false;
  void *bytes = NULL;
  size_t length = 0;
  napi_value answer = NULL;
  if (!arguments_read(env, info, &arguments)) return NULL;
  if (!argument_object(env, arguments.values[0], "buffer")) return NULL;
  napi_is_arraybuffer(env, arguments.values[0], &buffer);
  if (buffer) napi_get_arraybuffer_info(env, arguments.values[0], &bytes, &length);
  struct region *region = region_around(bytes, length);
  if (region != NULL) view_release(arguments.environment, region);
  napi_get_boolean(env, region != NULL, &answer);
  return answer;
}

napi_value view_share(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  void *bytes = NULL;
  size_t length = 0;
  if (!arguments_read(env, info, &arguments)) return NULL;
  if (!argument_buffer(env, arguments.values[0], "buffer", &bytes, &length)) return NULL;
  struct region *region = region_around(bytes, length);
  if (region == NULL) {
    refuse_type(env, "`buffer` must come from allocate()");
    return NULL;
  }
  napi_value token = value_number(env, (double)region->id);
  view_release(arguments.environment, region);
  return token;
}

napi_value view_of_token(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  uint64_t id = 0;
  struct fault fault = {0};
  if (!arguments_read(env, info, &arguments)) return NULL;
  if (!argument_whole(env, arguments.values[0], "token", 1, 9007199254740991.0, &id)) return NULL;
  struct region *region = region_with(id);
  if (region == NULL) {
    refuse_range(env, "The memory of this token is gone");
    return NULL;
  }
  napi_value buffer = make(env, arguments.environment, region, &fault);
  if (buffer == NULL) fault_throw(env, &fault);
  return buffer;
}

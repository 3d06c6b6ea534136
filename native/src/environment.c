#include "environment.h"

#include <stdlib.h>

#include "context.h"
#include "value.h"

void *memory_for(size_t size) {
  void *memory = calloc(1, size);
  if (memory == NULL) abort();
  return memory;
}

/* The thread is about to end: nothing may call JavaScript any more, but the loop still runs until the hook is removed. */
static void on_end(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  struct environment *environment = data;
  environment->ending = true;
  struct link *link = environment->contexts.next;
  while (link != &environment->contexts) {
    struct context *context = list_item(link, struct context, link);
    link = link->next;
    context_close(context, NULL);
  }
  environment_advance(environment);
}

static void on_finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  environment_release(data);
}

struct environment *environment_begin(napi_env env) {
  struct environment *environment = memory_for(sizeof *environment);
  environment->env = env;
  environment->refs = 1;
  list_begin(&environment->contexts);
  napi_value symbol = NULL;
  napi_value resource = value_object(env);
  bool ok = napi_get_uv_event_loop(env, &environment->loop) == napi_ok &&
            napi_create_symbol(env, value_text(env, "holds"), &symbol) == napi_ok &&
            napi_create_reference(env, symbol, 1, &environment->holds) == napi_ok &&
            napi_async_init(env, resource, value_text(env, "RDMA"), &environment->async) == napi_ok &&
            napi_set_instance_data(env, environment, on_finalize, NULL) == napi_ok;
  if (!ok) {
    /* Only a thread that ends already comes here; what was made goes with it. */
    free(environment);
    return NULL;
  }
  if (napi_add_async_cleanup_hook(env, on_end, environment, &environment->hook) != napi_ok) return NULL;
  return environment;
}

void environment_hold(struct environment *environment) {
  environment->refs++;
}

void environment_release(struct environment *environment) {
  if (--environment->refs == 0) free(environment);
}

napi_env environment_env(const struct environment *environment) {
  return environment->ending ? NULL : environment->env;
}

void environment_enter(struct environment *environment, struct scopes *scopes) {
  *scopes = (struct scopes){0};
  napi_env env = environment_env(environment);
  if (env == NULL || napi_open_handle_scope(env, &scopes->handles) != napi_ok) return;
  if (napi_open_callback_scope(env, value_object(env), environment->async, &scopes->callbacks) != napi_ok) {
    napi_close_handle_scope(env, scopes->handles);
    return;
  }
  scopes->env = env;
}

void environment_leave(struct scopes *scopes) {
  if (scopes->env == NULL) return;
  napi_close_callback_scope(scopes->env, scopes->callbacks);
  napi_close_handle_scope(scopes->env, scopes->handles);
}

void environment_advance(struct environment *environment) {
  if (!environment->ending || environment->jobs > 0 || !list_empty(&environment->contexts)) return;
  if (environment->hook == NULL) return;
  napi_async_cleanup_hook_handle hook = environment->hook;
  environment->hook = NULL;
  napi_async_destroy(environment->env, environment->async);
  /* May free the environment. */
  napi_remove_async_cleanup_hook(hook);
}

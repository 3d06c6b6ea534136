#include "object.h"

#include <stdlib.h>

#include "arguments.h"
#include "context.h"

static const struct {
  napi_type_tag tag;
  const char *name;
} kinds[] = {
  [OBJECT_CONTEXT] = {{0x6c1f0a3d5e2b4987, 0x8d3f7b1c9a6e5041}, "context"},
  [OBJECT_DOMAIN] = {{0x6c1f0a3d5e2b4987, 0x8d3f7b1c9a6e5042}, "domain"},
  [OBJECT_REGISTRATION] = {{0x6c1f0a3d5e2b4987, 0x8d3f7b1c9a6e5043}, "registration"},
  [OBJECT_QUEUE_PAIR] = {{0x6c1f0a3d5e2b4987, 0x8d3f7b1c9a6e5044}, "queue pair"},
};

void object_begin(struct object *object, enum object_kind kind, struct environment *environment, struct object *owner) {
  object->kind = kind;
  object->environment = environment;
  object->owner = owner;
  object->refs = 1;
  environment_hold(environment);
  if (owner != NULL) object_hold(owner);
}

void object_hold(struct object *object) {
  object->refs++;
}

void object_release(struct object *object) {
  if (--object->refs > 0) return;
  if (object->owner != NULL) object_release(object->owner);
  environment_release(object->environment);
  free(object);
}

static void abandon(struct object *object) {
  object->abandoned = true;
  /* While the environment ends, everything in it is torn down anyway. */
  if (!object->environment->ending) object->on_abandoned(object);
}

static void on_collected(napi_env env, void *data, void *hint) {
  (void)hint;
  struct object *object = data;
  if (object->handle != NULL) napi_delete_reference(env, object->handle);
  object->handle = NULL;
  object->strong = false;
  abandon(object);
  object_release(object);
}

static bool wrap(napi_env env, struct object *object, napi_value handle) {
  if (napi_type_tag_object(env, handle, &kinds[object->kind].tag) != napi_ok) return false;
  if (napi_create_reference(env, handle, 0, &object->handle) != napi_ok) return false;
  if (napi_wrap(env, handle, object, on_collected, NULL, NULL) == napi_ok) {
    object_hold(object);
    return true;
  }
  napi_delete_reference(env, object->handle);
  object->handle = NULL;
  return false;
}

napi_value object_handle(napi_env env, struct object *object, napi_value holds, const napi_property_descriptor *properties, size_t count) {
  napi_value handle = NULL;
  if (env == NULL || napi_create_object(env, &handle) != napi_ok || !wrap(env, object, handle)) {
    abandon(object);
    return NULL;
  }
  napi_property_descriptor kept = {.value = holds, .attributes = napi_default};
  bool ok = napi_define_properties(env, handle, count, properties) == napi_ok;
  if (ok && holds != NULL) {
    ok = napi_get_reference_value(env, object->environment->holds, &kept.name) == napi_ok &&
         napi_define_properties(env, handle, 1, &kept) == napi_ok;
  }
  /* A handle that is not given out is collected, and that frees the object. */
  return ok ? handle : NULL;
}

napi_value object_value(napi_env env, const struct object *object) {
  napi_value value = NULL;
  if (env != NULL && object->handle != NULL) napi_get_reference_value(env, object->handle, &value);
  return value;
}

void *object_of(napi_env env, napi_value value, enum object_kind kind, const char *name) {
  napi_valuetype type;
  bool tagged = false;
  void *object = NULL;
  if (value != NULL && napi_typeof(env, value, &type) == napi_ok && type == napi_object &&
      napi_check_object_type_tag(env, value, &kinds[kind].tag, &tagged) == napi_ok && tagged &&
      napi_unwrap(env, value, &object) == napi_ok) {
    return object;
  }
  refuse_type(env, "`%s` must be a %s", name, kinds[kind].name);
  return NULL;
}

void object_pin(struct object *object) {
  object->pins++;
  if (object->strong || object->handle == NULL || object->environment->ending) return;
  object->strong = napi_reference_ref(object->environment->env, object->handle, NULL) == napi_ok;
}

void object_unpin(struct object *object) {
  if (--object->pins > 0 || !object->strong) return;
  object->strong = false;
  if (!object->environment->ending) napi_reference_unref(object->environment->env, object->handle, NULL);
}

struct context *object_context(struct object *object) {
  while (object->owner != NULL) object = object->owner;
  return (struct context *)object;
}

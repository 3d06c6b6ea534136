/* What a handle of JavaScript stands for: a context, a domain, a registration or a queue pair.
 *
 * Its memory lives as long as its handle or its verbs object does (`refs`). Its handle is not collected while something is on its way for it (`pins`), and keeps
 * the handle of what it belongs to. A handle that is collected with its verbs object still there abandons it: then it is freed as if JavaScript had asked for that. */
#ifndef RDMA_OBJECT_H
#define RDMA_OBJECT_H

#include <stdbool.h>

#include "environment.h"

enum object_kind { OBJECT_CONTEXT, OBJECT_DOMAIN, OBJECT_REGISTRATION, OBJECT_QUEUE_PAIR };

struct object {
  enum object_kind kind;
  struct environment *environment;
  struct object *owner; /* what it belongs to; NULL for a context */
  napi_ref handle;      /* NULL before there is one and after it was collected */
  unsigned refs;
  unsigned pins;
  bool strong;    /* `handle` keeps the handle alive */
  bool abandoned; /* the handle was collected, or could not be made */
  void (*on_abandoned)(struct object *object);
};

/* Begins with one reference, that of the verbs object. Each struct of an object begins with its `struct object` and is freed as a whole with its last reference. */
void object_begin(struct object *object, enum object_kind kind, struct environment *environment, struct object *owner);
void object_hold(struct object *object);
void object_release(struct object *object);

/* The handle, with `holds` kept alive by it (may be NULL) and these properties. NULL, and the object abandoned, where there is no JavaScript any more. */
napi_value object_handle(napi_env env, struct object *object, napi_value holds, const napi_property_descriptor *properties, size_t count);

/* The value of a handle that exists. */
napi_value object_value(napi_env env, const struct object *object);

/* The object behind an argument; NULL after a TypeError. */
void *object_of(napi_env env, napi_value value, enum object_kind kind, const char *name);

/* The handle stays until the last `unpin`. */
void object_pin(struct object *object);
void object_unpin(struct object *object);

struct context *object_context(struct object *object);

#endif

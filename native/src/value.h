/* Values for JavaScript. Each function gives NULL where JavaScript cannot run any more, and takes such a NULL without harm. */
#ifndef RDMA_VALUE_H
#define RDMA_VALUE_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdint.h>

#include "fault.h"

napi_value value_undefined(napi_env env);
napi_value value_number(napi_env env, double number);
napi_value value_bigint(napi_env env, uint64_t number);
napi_value value_text(napi_env env, const char *text);
/* A Uint8Array of its own. */
napi_value value_bytes(napi_env env, const void *bytes, size_t length);
napi_value value_object(napi_env env);
napi_value value_array(napi_env env);
void value_set(napi_env env, napi_value object, const char *name, napi_value value);
void value_push(napi_env env, napi_value array, uint32_t at, napi_value value);

/* A promise, NULL when there cannot be one any more. */
napi_value promise_begin(napi_env env, napi_deferred *deferred);
/* Both take a NULL `env` or `deferred`, and then do nothing: nobody listens. What a promise held is lost with its environment. */
void promise_resolve(napi_env env, napi_deferred deferred, napi_value value);
void promise_reject(napi_env env, napi_deferred deferred, const struct fault *fault);
/* A promise that is rejected already. */
napi_value promise_refused(napi_env env, const char *code, const char *message);

#endif

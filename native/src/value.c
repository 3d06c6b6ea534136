#include "value.h"

#include <string.h>

napi_value value_undefined(napi_env env) {
  napi_value value = NULL;
  napi_get_undefined(env, &value);
  return value;
}

napi_value value_number(napi_env env, double number) {
  napi_value value = NULL;
  napi_create_double(env, number, &value);
  return value;
}

napi_value value_bigint(napi_env env, uint64_t number) {
  napi_value value = NULL;
  napi_create_bigint_uint64(env, number, &value);
  return value;
}

napi_value value_text(napi_env env, const char *text) {
  napi_value value = NULL;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  return value;
}

napi_value value_bytes(napi_env env, const void *bytes, size_t length) {
  void *memory = NULL;
  napi_value buffer = NULL;
  napi_value view = NULL;
  if (napi_create_arraybuffer(env, length, &memory, &buffer) != napi_ok) return NULL;
  memcpy(memory, bytes, length);
  if (napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &view) != napi_ok) return NULL;
  return view;
}

napi_value value_object(napi_env env) {
  napi_value value = NULL;
  napi_create_object(env, &value);
  return value;
}

napi_value value_array(napi_env env) {
  napi_value value = NULL;
  napi_create_array(env, &value);
  return value;
}

void value_set(napi_env env, napi_value object, const char *name, napi_value value) {
  if (object != NULL && value != NULL) napi_set_named_property(env, object, name, value);
}

void value_push(napi_env env, napi_value array, uint32_t at, napi_value value) {
  if (array != NULL && value != NULL) napi_set_element(env, array, at, value);
}

napi_value promise_begin(napi_env env, napi_deferred *deferred) {
  napi_value promise = NULL;
  return napi_create_promise(env, deferred, &promise) == napi_ok ? promise : NULL;
}

void promise_resolve(napi_env env, napi_deferred deferred, napi_value value) {
  if (env == NULL || deferred == NULL) return;
  if (value == NULL) value = value_undefined(env);
  if (value != NULL) napi_resolve_deferred(env, deferred, value);
}

void promise_reject(napi_env env, napi_deferred deferred, const struct fault *fault) {
  if (env == NULL || deferred == NULL) return;
  napi_value error = fault_error(env, fault);
  if (error != NULL) napi_reject_deferred(env, deferred, error);
}

napi_value promise_refused(napi_env env, const char *code, const char *message) {
  napi_deferred deferred = NULL;
  napi_value promise = promise_begin(env, &deferred);
  if (promise == NULL) return NULL;
  struct fault fault;
  fault_set(&fault, code, "%s", message);
  promise_reject(env, deferred, &fault);
  return promise;
}

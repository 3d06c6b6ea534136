#include "arguments.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "environment.h"

bool arguments_read(napi_env env, napi_callback_info info, struct arguments *arguments) {
  size_t count = ARGUMENTS_MAX;
  void *environment = NULL;
  arguments->env = env;
  if (napi_get_cb_info(env, info, &count, arguments->values, NULL, &environment) != napi_ok) return false;
  arguments->environment = environment;
  return true;
}

bool refuse_type(napi_env env, const char *format, ...) {
  char message[240];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

bool refuse_range(napi_env env, const char *format, ...) {
  char message[240];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
  return false;
}

static bool is(napi_env env, napi_value value, napi_valuetype wanted) {
  napi_valuetype type;
  return value != NULL && napi_typeof(env, value, &type) == napi_ok && type == wanted;
}

bool argument_whole(napi_env env, napi_value value, const char *name, double least, double most, uint64_t *number) {
  double got = 0;
  if (!is(env, value, napi_number) || napi_get_value_double(env, value, &got) != napi_ok) {
    return refuse_type(env, "`%s` must be a number", name);
  }
  /* Not a number compares as neither. */
  if (!(got >= least && got <= most) || got != (double)(uint64_t)got) {
    return refuse_range(env, "`%s` must be a whole number from %.16g to %.16g, got %.16g", name, least, most, got);
  }
  *number = (uint64_t)got;
  return true;
}

bool argument_boolean(napi_env env, napi_value value, const char *name, bool *answer) {
  if (is(env, value, napi_boolean) && napi_get_value_bool(env, value, answer) == napi_ok) return true;
  return refuse_type(env, "`%s` must be true or false", name);
}

bool argument_bigint(napi_env env, napi_value value, const char *name, uint64_t *number) {
  bool lossless = false;
  if (!is(env, value, napi_bigint) || napi_get_value_bigint_uint64(env, value, number, &lossless) != napi_ok) {
    return refuse_type(env, "`%s` must be a bigint", name);
  }
  return lossless || refuse_range(env, "`%s` must be from 0 to 2^64 - 1", name);
}

bool argument_text(napi_env env, napi_value value, const char *name, char *text, size_t size) {
  size_t length = 0;
  if (!is(env, value, napi_string) || napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
    return refuse_type(env, "`%s` must be a string", name);
  }
  if (length == 0 || length >= size) {
    return refuse_range(env, "`%s` must have 1 to %zu bytes, got %zu", name, size - 1, length);
  }
  if (napi_get_value_string_utf8(env, value, text, size, &length) != napi_ok || strlen(text) != length) {
    return refuse_type(env, "`%s` must not hold a zero character", name);
  }
  return true;
}

bool argument_bytes(napi_env env, napi_value value, const char *name, void *bytes, size_t length) {
  bool typed = false;
  napi_typedarray_type type = napi_int8_array;
  size_t got = 0;
  void *memory = NULL;
  if (value == NULL || napi_is_typedarray(env, value, &typed) != napi_ok || !typed ||
      napi_get_typedarray_info(env, value, &type, &got, &memory, NULL, NULL) != napi_ok || type != napi_uint8_array) {
    return refuse_type(env, "`%s` must be a Uint8Array", name);
  }
  if (got != length || memory == NULL) return refuse_range(env, "`%s` must have %zu bytes, got %zu", name, length, got);
  memcpy(bytes, memory, length);
  return true;
}

bool argument_function(napi_env env, napi_value value, const char *name) {
  return is(env, value, napi_function) || refuse_type(env, "`%s` must be a function", name);
}

bool argument_object(napi_env env, napi_value value, const char *name) {
  return is(env, value, napi_object) || refuse_type(env, "`%s` must be an object", name);
}

bool argument_property(napi_env env, napi_value object, const char *name, napi_value *value) {
  bool pending = false;
  if (napi_get_named_property(env, object, name, value) == napi_ok) return true;
  /* A getter threw: its exception stays as it is. */
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) return false;
  return refuse_type(env, "`%s` cannot be read", name);
}

bool argument_buffer(napi_env env, napi_value value, const char *name, void **bytes, size_t *length) {
  bool buffer = false;
  if (value == NULL || napi_is_arraybuffer(env, value, &buffer) != napi_ok || !buffer ||
      napi_get_arraybuffer_info(env, value, bytes, length) != napi_ok) {
    return refuse_type(env, "`%s` must be an ArrayBuffer", name);
  }
  return true;
}

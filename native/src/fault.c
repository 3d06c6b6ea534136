#include "fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "value.h"

void fault_set(struct fault *fault, const char *code, const char *format, ...) {
  *fault = (struct fault){.code = code};
  va_list values;
  va_start(values, format);
  vsnprintf(fault->message, sizeof fault->message, format, values);
  va_end(values);
}

void fault_errno(struct fault *fault, const char *code, const char *what, int error) {
  char buffer[100];
  fault_set(fault, code, "%s: %s", what, strerror_r(error, buffer, sizeof buffer));
  fault->error = error;
}

napi_value fault_error(napi_env env, const struct fault *fault) {
  napi_value code = value_text(env, fault->code);
  napi_value message = value_text(env, fault->message);
  napi_value error = NULL;
  if (napi_create_error(env, code, message, &error) != napi_ok) return NULL;
  if (fault->error != 0) value_set(env, error, "errno", value_number(env, fault->error));
  if (fault->status != 0) value_set(env, error, "status", value_number(env, fault->status));
  return error;
}

void fault_throw(napi_env env, const struct fault *fault) {
  napi_value error = fault_error(env, fault);
  if (error != NULL) napi_throw(env, error);
}

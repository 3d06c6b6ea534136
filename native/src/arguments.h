/* Arguments from JavaScript, each checked. A `false` answer means that an exception is pending, and the caller returns at once.
 *
 * Reading a property may run code of the caller (a getter), which may close what was checked before it. So states are looked at after the last argument is read. */
#ifndef RDMA_ARGUMENTS_H
#define RDMA_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "fault.h"

enum { ARGUMENTS_MAX = 5 };

struct arguments {
  napi_env env;
  struct environment *environment;
  napi_value values[ARGUMENTS_MAX]; /* missing ones are `undefined` */
};

bool arguments_read(napi_env env, napi_callback_info info, struct arguments *arguments);

/* Always false. */
__attribute__((format(printf, 2, 3))) bool refuse_type(napi_env env, const char *format, ...);
__attribute__((format(printf, 2, 3))) bool refuse_range(napi_env env, const char *format, ...);

/* A whole number within bounds, both included. */
bool argument_whole(napi_env env, napi_value value, const char *name, double least, double most, uint64_t *number);
bool argument_boolean(napi_env env, napi_value value, const char *name, bool *answer);
bool argument_bigint(napi_env env, napi_value value, const char *name, uint64_t *number);
/* Text of 1 to size - 1 bytes without NUL. */
bool argument_text(napi_env env, napi_value value, const char *name, char *text, size_t size);
/* Exactly so many bytes of a Uint8Array, copied. */
bool argument_bytes(napi_env env, napi_value value, const char *name, void *bytes, size_t length);
bool argument_function(napi_env env, napi_value value, const char *name);
bool argument_object(napi_env env, napi_value value, const char *name);
bool argument_property(napi_env env, napi_value object, const char *name, napi_value *value);

/* The memory of an ArrayBuffer. */
bool argument_buffer(napi_env env, napi_value value, const char *name, void **bytes, size_t *length);

#endif

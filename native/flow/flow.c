/* What JavaScript sees. The interface, with what each function promises, stands in src/util/flow.ts. */
#include "pump.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* Of the interface. */
enum { VERSION = 3 };

/* Hash of the sources, given by the build, so that a binary of other sources can be told without a compiler. */
#ifndef SOURCES
#define SOURCES "unknown"
#endif

/* Whole numbers of JavaScript go so far. */
static const double whole_max = 9007199254740991.0;

struct flow {
  struct pump *pump;
  napi_async_context async;
};

static bool refuse(napi_env env, const char *what) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", what);
  return false;
}

static bool whole(napi_env env, napi_value value, const char *what, double max, uint64_t *number) {
  double got = 0;
  if (napi_get_value_double(env, value, &got) != napi_ok) return refuse(env, what);
  if (!(got >= 0 && got <= max) || got != (double)(uint64_t)got) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", what);
    return false;
  }
  *number = (uint64_t)got;
  return true;
}

static bool bytes_of(napi_env env, napi_value value, const char *what, void **bytes, size_t *length) {
  bool typed = false;
  napi_typedarray_type type = napi_int8_array;
  if (napi_is_typedarray(env, value, &typed) != napi_ok || !typed ||
      napi_get_typedarray_info(env, value, &type, length, bytes, NULL, NULL) != napi_ok || type != napi_uint8_array) {
    return refuse(env, what);
  }
  return true;
}

/* The sums may lie anywhere: they are copied in and out. */
static bool read_sums(napi_env env, napi_value value, struct sums *sums) {
  void *bytes = NULL;
  size_t length = 0;
  if (!bytes_of(env, value, "`sums` must be a Uint8Array", &bytes, &length)) return false;
  if (length != sizeof *sums) return refuse(env, "`sums` must be what sums() gave");
  memcpy(sums, bytes, sizeof *sums);
  return true;
}

static void write_sums(napi_env env, napi_value value, const struct sums *sums) {
  void *bytes = NULL;
  size_t length = 0;
  if (bytes_of(env, value, "`sums` must be a Uint8Array", &bytes, &length) && length == sizeof *sums) {
    memcpy(bytes, sums, sizeof *sums);
  }
}

/* The arguments; `undefined` for those that are missing. NULL when JavaScript cannot run. */
static struct flow *arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  void *flow = NULL;
  return napi_get_cb_info(env, info, &count, values, NULL, &flow) == napi_ok ? flow : NULL;
}

static napi_value sums_call(napi_env env, napi_callback_info info) {
  napi_value values[1], buffer = NULL, array = NULL;
  void *bytes = NULL;
  bool hashes = false;
  struct sums sums;
  if (arguments(env, info, 1, values) == NULL) return NULL;
  if (napi_get_value_bool(env, values[0], &hashes) != napi_ok) {
    refuse(env, "`hashes` must be true or false");
    return NULL;
  }
  sums_begin(&sums, hashes);
  if (napi_create_arraybuffer(env, sizeof sums, &bytes, &buffer) != napi_ok) return NULL;
  memcpy(bytes, &sums, sizeof sums);
  napi_create_typedarray(env, napi_uint8_array, sizeof sums, buffer, 0, &array);
  return array;
}

static napi_value add_call(napi_env env, napi_callback_info info) {
  napi_value values[2];
  struct sums sums;
  void *bytes = NULL;
  size_t length = 0;
  if (arguments(env, info, 2, values) == NULL || !read_sums(env, values[0], &sums)) return NULL;
  if (!bytes_of(env, values[1], "`bytes` must be a Uint8Array", &bytes, &length)) return NULL;
  sums_add(&sums, bytes, length);
  write_sums(env, values[0], &sums);
  return NULL;
}

static napi_value crc_call(napi_env env, napi_callback_info info) {
  napi_value values[1], result = NULL;
  struct sums sums;
  if (arguments(env, info, 1, values) == NULL || !read_sums(env, values[0], &sums)) return NULL;
  napi_create_uint32(env, sums.crc, &result);
  return result;
}

static napi_value xxh64_call(napi_env env, napi_callback_info info) {
  napi_value values[1], result = NULL;
  struct sums sums;
  if (arguments(env, info, 1, values) == NULL || !read_sums(env, values[0], &sums)) return NULL;
  napi_create_bigint_uint64(env, sums_xxh64(&sums), &result);
  return result;
}

/* The engine frees the memory of a detached array at once. In JavaScript it is empty then; a call of the system that still reads it gets other bytes. */
static napi_value release_call(napi_env env, napi_callback_info info) {
  napi_value values[1], buffer = NULL, result = NULL;
  void *bytes = NULL, *all = NULL;
  size_t length = 0, offset = 0, all_length = 0;
  bool released = false;
  if (arguments(env, info, 1, values) == NULL) return NULL;
  if (!bytes_of(env, values[0], "`bytes` must be a Uint8Array", &bytes, &length)) return NULL;
  if (napi_get_typedarray_info(env, values[0], NULL, NULL, NULL, &buffer, &offset) == napi_ok &&
      napi_get_arraybuffer_info(env, buffer, &all, &all_length) == napi_ok && length == all_length && length > 0) {
    released = napi_detach_arraybuffer(env, buffer) == napi_ok;
  }
  napi_get_boolean(env, released, &result);
  return result;
}

static void free_job(napi_env env, struct job *job) {
  if (job->done != NULL) napi_delete_reference(env, job->done);
  if (job->state != NULL) napi_delete_reference(env, job->state);
  if (job->held != NULL) napi_delete_reference(env, job->held);
  free(job);
}

static void call_back(napi_env env, const struct flow *flow, napi_value function, const struct outcome *outcome) {
  napi_value values[3], global = NULL, error = NULL;
  bool thrown = false;
  napi_get_global(env, &global);
  napi_create_double(env, (double)outcome->count, &values[0]);
  napi_create_int32(env, outcome->socket_error, &values[1]);
  napi_create_int32(env, outcome->file_error, &values[2]);
  napi_make_callback(env, flow->async, global, function, 3, values, NULL);
  if (napi_is_exception_pending(env, &thrown) == napi_ok && thrown && napi_get_and_clear_last_exception(env, &error) == napi_ok) {
    napi_fatal_exception(env, error);
  }
}

static void on_end(napi_env env, struct job *job) {
  struct flow *flow = job->owner;
  napi_value function = NULL, state = NULL;
  napi_get_reference_value(env, job->done, &function);
  if (job->state != NULL && napi_get_reference_value(env, job->state, &state) == napi_ok) {
    write_sums(env, state, &job->sums);
  }
  struct outcome outcome = job->outcome;
  free_job(env, job);
  pump_running(flow->pump, env, -1);
  call_back(env, flow, function, &outcome);
}

/* Whether both ends of a connection have the same address: nothing of it passes a network card. */
static bool is_near(int socket) {
  union {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_storage room;
  } here, there;
  socklen_t here_length = sizeof here, there_length = sizeof there;
  if (getsockname(socket, &here.any, &here_length) != 0 || getpeername(socket, &there.any, &there_length) != 0) return false;
  if (here.any.sa_family != there.any.sa_family) return false;
  if (here.any.sa_family == AF_INET) return here.four.sin_addr.s_addr == there.four.sin_addr.s_addr;
  return here.any.sa_family == AF_INET6 && memcmp(&here.six.sin6_addr, &there.six.sin6_addr, sizeof here.six.sin6_addr) == 0;
}

/* Descriptors of our own. */
static bool duplicate(struct job *job) {
  job->socket = fcntl(job->socket, F_DUPFD_CLOEXEC, 3);
  if (job->socket < 0) return false;
  if (job->memory != NULL) return true;
  job->target = job->file;
  job->file = fcntl(job->file, F_DUPFD_CLOEXEC, 3);
  if (job->file >= 0) return true;
  close(job->socket);
  return false;
}

static void throw_errno(napi_env env, int error) {
  napi_value code = NULL, message = NULL, object = NULL, number = NULL;
  napi_create_string_utf8(env, "ERR_FLOW", NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, strerror(error), NAPI_AUTO_LENGTH, &message);
  napi_create_int32(env, error, &number);
  if (napi_create_error(env, code, message, &object) != napi_ok) return;
  napi_set_named_property(env, object, "errno", number);
  napi_throw(env, object);
}

static bool descriptor_of(napi_env env, napi_value value, const char *what, int *descriptor) {
  uint64_t number = 0;
  if (!whole(env, value, what, INT32_MAX, &number)) return false;
  *descriptor = (int)number;
  return true;
}

static bool is_function(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, value, &type) == napi_ok && type == napi_function) return true;
  return refuse(env, "`done` must be a function");
}

/* What JavaScript keeps alive until the end of the job; NULL where there is none. */
struct kept {
  napi_value done, sums, memory;
};

/* Bytes that are written ahead of what comes; only while the job begins. */
struct ahead {
  void *bytes;
  size_t length;
};

/* Its number. */
static napi_value start(napi_env env, const struct job *made, const struct kept *kept, struct ahead ahead) {
  napi_value id = NULL;
  struct flow *flow = made->owner;
  struct job *job = malloc(sizeof *job);
  if (job != NULL) *job = *made;
  if (job == NULL || !duplicate(job)) {
    throw_errno(env, errno);
    free(job);
    return NULL;
  }
  napi_create_reference(env, kept->done, 1, &job->done);
  if (kept->sums != NULL) napi_create_reference(env, kept->sums, 1, &job->state);
  if (kept->memory != NULL) napi_create_reference(env, kept->memory, 1, &job->held);
  pump_running(flow->pump, env, 1);
  int error = pump_start(flow->pump, job, ahead.bytes, ahead.length);
  if (error != 0) {
    pump_running(flow->pump, env, -1);
    close(job->socket);
    if (job->memory == NULL) close(job->file);
    free_job(env, job);
    throw_errno(env, error);
    return NULL;
  }
  /* From here on the job may have ended. */
  napi_create_double(env, (double)pump_last_id(flow->pump), &id);
  return id;
}

/* Absent, or a part of what is received. */
static bool ahead_of(napi_env env, napi_value value, uint64_t length, struct ahead *ahead) {
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, value, &type) == napi_ok && type == napi_undefined) return true;
  if (!bytes_of(env, value, "`ahead` must be a Uint8Array", &ahead->bytes, &ahead->length)) return false;
  if (ahead->length <= CHUNK_BYTES && ahead->length < length) return true;
  return refuse(env, "`ahead` must be a part of what is received, of 256 KiB at most");
}

/* socket, file, position, length, done, and of what is received the sums and the beginning */
static napi_value start_file(napi_env env, napi_callback_info info, enum way way) {
  enum { SOCKET, FILE_, POSITION, LENGTH, DONE, SUMS, AHEAD, COUNT };
  napi_value values[COUNT];
  uint64_t length = 0;
  struct ahead ahead = {NULL, 0};
  struct flow *flow = arguments(env, info, COUNT, values);
  if (flow == NULL) return NULL;
  struct job job = {.way = way, .owner = flow};
  if (!descriptor_of(env, values[SOCKET], "`socket` must be a descriptor", &job.socket)) return NULL;
  if (!descriptor_of(env, values[FILE_], "`file` must be a descriptor", &job.file)) return NULL;
  if (!whole(env, values[POSITION], "`position` must be a whole number", whole_max / 2, &job.position)) return NULL;
  if (!whole(env, values[LENGTH], "`length` must be a whole number", whole_max / 2, &length)) return NULL;
  if (!is_function(env, values[DONE])) return NULL;
  if (way == WAY_RECEIVE && !(read_sums(env, values[SUMS], &job.sums) && ahead_of(env, values[AHEAD], length, &ahead))) return NULL;
  job.length = length;
  job.near = way == WAY_SEND && is_near(job.socket);
  struct kept kept = {.done = values[DONE], .sums = way == WAY_RECEIVE ? values[SUMS] : NULL};
  return start(env, &job, &kept, ahead);
}

/* socket, memory, done, sums */
static napi_value fill_call(napi_env env, napi_callback_info info) {
  enum { SOCKET, MEMORY, DONE, SUMS, COUNT };
  napi_value values[COUNT];
  void *memory = NULL;
  struct flow *flow = arguments(env, info, COUNT, values);
  if (flow == NULL) return NULL;
  struct job job = {.way = WAY_RECEIVE, .owner = flow};
  if (!descriptor_of(env, values[SOCKET], "`socket` must be a descriptor", &job.socket)) return NULL;
  if (!bytes_of(env, values[MEMORY], "`memory` must be a Uint8Array", &memory, &job.length)) return NULL;
  if (job.length == 0) {
    refuse(env, "`memory` must be longer than nothing");
    return NULL;
  }
  if (!is_function(env, values[DONE]) || !read_sums(env, values[SUMS], &job.sums)) return NULL;
  job.memory = memory;
  struct kept kept = {.done = values[DONE], .sums = values[SUMS], .memory = values[MEMORY]};
  return start(env, &job, &kept, (struct ahead){NULL, 0});
}

/* Only a hint: what the kernel makes of it, and whether it knows it at all, changes nothing but the time that the first write to each page takes. */
static napi_value large_pages_call(napi_env env, napi_callback_info info) {
  napi_value values[1], result = NULL;
  void *bytes = NULL;
  size_t length = 0;
  if (arguments(env, info, 1, values) == NULL) return NULL;
  if (!bytes_of(env, values[0], "`memory` must be a Uint8Array", &bytes, &length)) return NULL;
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t first = ((uintptr_t)bytes + page - 1) / page * page, end = ((uintptr_t)bytes + length) / page * page;
  bool taken = end > first && madvise((void *)first, end - first, MADV_HUGEPAGE) == 0;
  napi_get_boolean(env, taken, &result);
  return result;
}

static napi_value send_call(napi_env env, napi_callback_info info) {
  return start_file(env, info, WAY_SEND);
}

static napi_value receive_call(napi_env env, napi_callback_info info) {
  return start_file(env, info, WAY_RECEIVE);
}

static napi_value silence_call(napi_env env, napi_callback_info info) {
  napi_value values[1], result = NULL;
  uint64_t id = 0;
  struct flow *flow = arguments(env, info, 1, values);
  if (flow == NULL || !whole(env, values[0], "`id` must be a whole number", whole_max, &id)) return NULL;
  napi_create_double(env, (double)pump_silence(flow->pump, id) / 1e6, &result);
  return result;
}

static napi_value cancel_call(napi_env env, napi_callback_info info) {
  napi_value values[1], result = NULL;
  uint64_t id = 0;
  struct flow *flow = arguments(env, info, 1, values);
  if (flow == NULL || !whole(env, values[0], "`id` must be a whole number", whole_max, &id)) return NULL;
  napi_get_boolean(env, pump_cancel(flow->pump, id), &result);
  return result;
}

static void on_finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  free(data);
}

NAPI_MODULE_INIT() {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {
    {"sums", sums_call},
    {"add", add_call},
    {"crc", crc_call},
    {"xxh64", xxh64_call},
    {"release", release_call},
    {"send", send_call},
    {"receive", receive_call},
    {"fill", fill_call},
    {"largePages", large_pages_call},
    {"silence", silence_call},
    {"cancel", cancel_call},
  };
  napi_value value = NULL, resource = NULL, name = NULL;
  static uv_once_t prepared = UV_ONCE_INIT;
  uv_once(&prepared, sums_prepare);
  struct flow *flow = calloc(1, sizeof *flow);
  if (flow == NULL) return NULL;
  napi_create_object(env, &resource);
  napi_create_string_utf8(env, "flow", NAPI_AUTO_LENGTH, &name);
  if (napi_set_instance_data(env, flow, on_finalize, NULL) != napi_ok) return NULL;
  if (napi_async_init(env, resource, name, &flow->async) != napi_ok) return NULL;
  flow->pump = pump_make(env, on_end);
  if (flow->pump == NULL) {
    napi_throw_error(env, "ERR_FLOW", "The kernel gives no epoll");
    return NULL;
  }
  for (size_t at = 0; at < sizeof functions / sizeof *functions; at++) {
    napi_create_function(env, functions[at].name, NAPI_AUTO_LENGTH, functions[at].call, flow, &value);
    napi_set_named_property(env, exports, functions[at].name, value);
  }
  napi_create_uint32(env, VERSION, &value);
  napi_set_named_property(env, exports, "version", value);
  napi_create_string_utf8(env, SOURCES, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, exports, "sources", value);
  return exports;
}

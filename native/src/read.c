#include "read.h"

#include <errno.h>

#include "arguments.h"
#include "counters.h"
#include "value.h"

struct source {
  uint64_t address;
  uint32_t key;
};

static void flushed(struct fault *fault) {
  fault_set(fault, ERR_FLUSHED, "The queue pair failed before, or was aborted");
  fault->status = VERBS_WC_WR_FLUSH_ERR;
}

/* The context keeps the process alive while reads are on their way. */
static void begin(struct read *read, struct registration *into) {
  struct queue_pair *queue_pair = read->queue_pair;
  struct context *context = queue_pair->domain->context;
  read->into = into;
  read->posted = true;
  queue_pair->free_reads = read->next_free;
  queue_pair->reads++;
  into->reads++;
  object_pin(&queue_pair->object);
  object_pin(&into->object);
  if (context->reads++ == 0) uv_ref((uv_handle_t *)&context->completions_poll);
  counter_add(reads_posted, 1);
}

/* With this the slot is free, and the memory is the caller's again. */
static void end(struct read *read) {
  struct queue_pair *queue_pair = read->queue_pair;
  struct context *context = queue_pair->domain->context;
  read->posted = false;
  read->next_free = queue_pair->free_reads;
  queue_pair->free_reads = read;
  queue_pair->reads--;
  read->into->reads--;
  object_unpin(&read->into->object);
  object_unpin(&queue_pair->object);
  if (--context->reads == 0) uv_unref((uv_handle_t *)&context->completions_poll);
}

static void settle(struct read *read, const struct fault *fault, napi_env env) {
  napi_deferred deferred = read->deferred;
  uint32_t length = read->length;
  end(read);
  if (fault->code == NULL) {
    counter_add(reads_done, 1);
    counter_add(bytes_read, length);
    promise_resolve(env, deferred, NULL);
  } else {
    counter_add(reads_failed, 1);
    promise_reject(env, deferred, fault);
  }
}

void read_completed(const struct verbs_wc *completion, napi_env env) {
  struct read *read = (struct read *)(uintptr_t)completion->wr_id;
  struct queue_pair *queue_pair = read->queue_pair;
  struct fault fault = {0};
  if (completion->status == VERBS_WC_WR_FLUSH_ERR) {
    flushed(&fault);
  } else if (completion->status != VERBS_WC_SUCCESS) {
    fault_set(&fault, ERR_TRANSFER, "The read failed: %s (status %d, vendor 0x%x)", verbs.wc_status_str(completion->status),
              completion->status, completion->vendor_err);
    fault.status = completion->status;
  }
  if (fault.code != NULL) queue_pair->failed = true;
  settle(read, &fault, env);
  if (queue_pair->reads == 0) queue_pair_advance(queue_pair, env);
}

void read_flush_all(struct queue_pair *queue_pair, napi_env env) {
  struct fault fault;
  flushed(&fault);
  queue_pair->failed = true;
  for (uint32_t at = 0; at < queue_pair->reads_max; at++) {
    if (queue_pair->slots[at].posted) settle(&queue_pair->slots[at], &fault, env);
  }
}

static int post(struct read *read, uint64_t address, const struct source *from) {
  struct verbs_sge memory = {.addr = address, .length = read->length, .lkey = read->into->local_key};
  struct verbs_send_wr request = {
    .wr_id = (uint64_t)(uintptr_t)read,
    .sg_list = &memory,
    .num_sge = 1,
    .opcode = VERBS_WR_RDMA_READ,
    .send_flags = VERBS_SEND_SIGNALED,
    .remote_addr = from->address,
    .rkey = from->key,
  };
  struct verbs_send_wr *refused = NULL;
  struct queue_pair *queue_pair = read->queue_pair;
  return queue_pair->domain->context->port.device->post_send(queue_pair->qp, &request, &refused);
}

static bool argument_into(napi_env env, napi_value value, struct registration **into, uint64_t *offset, uint64_t *length) {
  napi_value registration_value, offset_value, length_value;
  bool ok = argument_object(env, value, "into") && argument_property(env, value, "registration", &registration_value) &&
            argument_property(env, value, "offset", &offset_value) && argument_property(env, value, "byteLength", &length_value);
  if (!ok) return false;
  *into = object_of(env, registration_value, OBJECT_REGISTRATION, "into.registration");
  if (*into == NULL) return false;
  if (!argument_whole(env, offset_value, "into.offset", 0, (double)((*into)->length - 1), offset)) return false;
  return argument_whole(env, length_value, "into.byteLength", 1, (double)((*into)->length - *offset), length);
}

static bool argument_from(napi_env env, napi_value value, uint64_t length, struct source *from) {
  napi_value address_value, key_value;
  uint64_t key = 0;
  bool ok = argument_object(env, value, "from") && argument_property(env, value, "address", &address_value) &&
            argument_property(env, value, "key", &key_value) &&
            argument_bigint(env, address_value, "from.address", &from->address) &&
            argument_whole(env, key_value, "from.key", 0, 0xffffffff, &key);
  if (!ok) return false;
  from->key = (uint32_t)key;
  return from->address <= UINT64_MAX - length || refuse_range(env, "The memory read must end below 2^64");
}

/* Whether the two fit together; false after a TypeError or RangeError. */
static bool fit(napi_env env, const struct queue_pair *queue_pair, const struct registration *into, uint64_t length) {
  uint32_t most = queue_pair->domain->context->port.read_bytes_max;
  if (into->domain != queue_pair->domain) return refuse_type(env, "`into.registration` must be of the domain of the queue pair");
  if (!into->local) return refuse_type(env, "`into.registration` must be registered for 'local' access");
  return length <= most || refuse_range(env, "`into.byteLength` must be at most %u, the most of this port", most);
}

/* Why this read cannot be posted now; no code: it can. */
static struct fault refusal(const struct queue_pair *queue_pair, const struct registration *into) {
  struct fault fault = {0};
  const char *closed = queue_pair_refusal(queue_pair);
  if (closed == NULL && into->freed) closed = "The registration is freed";
  if (closed != NULL) {
    fault_set(&fault, ERR_CLOSED, "%s", closed);
  } else if (queue_pair->failed) {
    flushed(&fault);
  } else if (!queue_pair->connected) {
    fault_set(&fault, ERR_QUEUE_PAIR, "The queue pair is not connected yet");
  } else if (queue_pair->reads_out == 0) {
    fault_set(&fault, ERR_QUEUE_PAIR, "The queue pair was connected with `readsOut` 0");
  } else if (queue_pair->free_reads == NULL) {
    fault_set(&fault, ERR_BUSY, "%u reads are on their way already", queue_pair->reads_max);
  }
  return fault;
}

napi_value read_post(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  struct registration *into = NULL;
  struct source from = {0};
  uint64_t offset = 0;
  uint64_t length = 0;
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct queue_pair *queue_pair = object_of(env, arguments.values[0], OBJECT_QUEUE_PAIR, "queuePair");
  bool ok = queue_pair != NULL && argument_into(env, arguments.values[1], &into, &offset, &length) &&
            argument_from(env, arguments.values[2], length, &from) && fit(env, queue_pair, into, length);
  if (!ok) return NULL;
  napi_deferred deferred = NULL;
  napi_value promise = promise_begin(env, &deferred);
  if (promise == NULL) return NULL;
  struct fault fault = refusal(queue_pair, into);
  if (fault.code != NULL) {
    promise_reject(env, deferred, &fault);
    return promise;
  }
  struct read *read = queue_pair->free_reads;
  read->deferred = deferred;
  read->length = (uint32_t)length;
  begin(read, into);
  int error = post(read, into->address + offset, &from);
  if (error != 0) {
    fault_errno(&fault, error == ENOMEM ? ERR_BUSY : ERR_TRANSFER, "ibv_post_send", error);
    settle(read, &fault, env);
  }
  return promise;
}

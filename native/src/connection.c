/* The states of a queue pair after its birth: RTR and RTS, ERR, and its end. At most one job at a time works on a queue pair. */
#include <string.h>

#include "arguments.h"
#include "job.h"
#include "queue-pair.h"
#include "value.h"

/* 0.64 ms (`ibv_qp_attr.min_rnr_timer`). Only SENDs need receive buffers, and nobody sends, so it never matters. */
enum { RNR_TIMER = 12, RNR_RETRIES = 6 };

/* Routers between the two; what a GID of RoCE v2 needs. */
enum { HOPS_MAX = 64 };

struct remote {
  uint32_t number;
  uint16_t lid;
  union verbs_gid gid;
  int mtu;
  uint8_t reads_out;
  uint8_t reads_in;
  uint8_t timeout;
  uint8_t retries;
};

struct connect_job {
  struct job job;
  struct remote remote;
};

static bool to_ready_to_receive(struct verbs_qp *qp, const struct port *port, const struct remote *remote, struct fault *fault) {
  struct verbs_qp_attr attr = {
    .qp_state = VERBS_QPS_RTR,
    .path_mtu = remote->mtu,
    .dest_qp_num = remote->number,
    .rq_psn = 0, /* All that is exchanged is {num, lid, gid}: both count packets from 0. */
    .max_dest_rd_atomic = remote->reads_in,
    .min_rnr_timer = RNR_TIMER,
    .ah_attr = {.dlid = remote->lid, .port_num = port->number},
  };
  static const uint8_t zeros[16];
  if (memcmp(remote->gid.raw, zeros, sizeof zeros) != 0) {
    attr.ah_attr.is_global = 1;
    attr.ah_attr.grh = (struct verbs_global_route){.dgid = remote->gid, .sgid_index = port->gid_index, .hop_limit = HOPS_MAX};
  }
  int error = verbs.modify_qp(qp, &attr,
                              VERBS_QP_STATE | VERBS_QP_AV | VERBS_QP_PATH_MTU | VERBS_QP_DEST_QPN | VERBS_QP_RQ_PSN |
                                VERBS_QP_MAX_DEST_RD_ATOMIC | VERBS_QP_MIN_RNR_TIMER);
  if (error != 0) fault_errno(fault, ERR_CONNECT, "ibv_modify_qp to RTR", error);
  return error == 0;
}

static void to_ready_to_send(struct verbs_qp *qp, const struct remote *remote, struct fault *fault) {
  struct verbs_qp_attr attr = {
    .qp_state = VERBS_QPS_RTS,
    .sq_psn = 0,
    .timeout = remote->timeout,
    .retry_cnt = remote->retries,
    .rnr_retry = RNR_RETRIES,
    .max_rd_atomic = remote->reads_out,
  };
  int error = verbs.modify_qp(qp, &attr,
                              VERBS_QP_STATE | VERBS_QP_TIMEOUT | VERBS_QP_RETRY_CNT | VERBS_QP_RNR_RETRY | VERBS_QP_SQ_PSN |
                                VERBS_QP_MAX_RD_ATOMIC);
  if (error != 0) fault_errno(fault, ERR_CONNECT, "ibv_modify_qp to RTS", error);
}

static void work_connect(struct job *job) {
  struct queue_pair *queue_pair = (struct queue_pair *)job->subject;
  const struct remote *remote = &((struct connect_job *)job)->remote;
  if (to_ready_to_receive(queue_pair->qp, &queue_pair->domain->context->port, remote, &job->fault)) {
    to_ready_to_send(queue_pair->qp, remote, &job->fault);
  }
}

static void done_connect(struct job *job, napi_env env) {
  struct queue_pair *queue_pair = (struct queue_pair *)job->subject;
  queue_pair->working = false;
  if (job->fault.code != NULL) {
    queue_pair->failed = true;
    promise_reject(env, job->deferred, &job->fault);
  } else {
    queue_pair->connected = true;
    promise_resolve(env, job->deferred, NULL);
  }
  queue_pair_advance(queue_pair, env);
}

static bool argument_remote(napi_env env, napi_value value, const struct port *port, struct remote *remote) {
  static const char *const names[] = {"num", "lid", "mtu", "readsOut", "readsIn", "timeout", "retries"};
  const double most[] = {0xffffff, 0xffff, 4096, port->reads_out_max, port->reads_in_max, 31, 6};
  enum { COUNT = sizeof names / sizeof *names };
  uint64_t numbers[COUNT];
  napi_value property;
  if (!argument_object(env, value, "remote")) return false;
  for (size_t at = 0; at < COUNT; at++) {
    if (!argument_property(env, value, names[at], &property)) return false;
    if (!argument_whole(env, property, names[at], 0, most[at], &numbers[at])) return false;
  }
  if (!argument_property(env, value, "gid", &property)) return false;
  if (!argument_bytes(env, property, "gid", remote->gid.raw, sizeof remote->gid.raw)) return false;
  remote->number = (uint32_t)numbers[0];
  remote->lid = (uint16_t)numbers[1];
  remote->mtu = mtu_number((uint32_t)numbers[2]);
  remote->reads_out = (uint8_t)numbers[3];
  remote->reads_in = (uint8_t)numbers[4];
  remote->timeout = (uint8_t)numbers[5];
  remote->retries = (uint8_t)numbers[6];
  return remote->mtu != 0 || refuse_range(env, "`mtu` must be 256, 512, 1024, 2048 or 4096");
}

napi_value queue_pair_connect(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  struct remote remote = {0};
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct queue_pair *queue_pair = object_of(env, arguments.values[0], OBJECT_QUEUE_PAIR, "queuePair");
  if (queue_pair == NULL || !argument_remote(env, arguments.values[1], &queue_pair->domain->context->port, &remote)) return NULL;
  const char *refusal = queue_pair_refusal(queue_pair);
  if (refusal != NULL) return promise_refused(env, ERR_CLOSED, refusal);
  if (queue_pair->connect_begun) return promise_refused(env, ERR_CONNECT, "The queue pair was connected before");
  if (queue_pair->failed) return promise_refused(env, ERR_CONNECT, "The queue pair was aborted");
  struct connect_job *connecting = job_new(sizeof *connecting, arguments.environment, &queue_pair->object);
  connecting->remote = remote;
  connecting->job.work = work_connect;
  connecting->job.done = done_connect;
  napi_value promise = job_promise(env, &connecting->job);
  if (promise == NULL) return NULL;
  queue_pair->working = true;
  queue_pair->connect_begun = true;
  queue_pair->reads_out = remote.reads_out;
  return promise;
}

static void work_abort(struct job *job) {
  struct verbs_qp_attr attr = {.qp_state = VERBS_QPS_ERR};
  int error = verbs.modify_qp(((struct queue_pair *)job->subject)->qp, &attr, VERBS_QP_STATE);
  if (error != 0) fault_errno(&job->fault, ERR_QUEUE_PAIR, "ibv_modify_qp to ERR", error);
}

/* Where the device does not take the change, reads on their way end by themselves, with their time-outs. */
static void done_abort(struct job *job, napi_env env) {
  struct queue_pair *queue_pair = (struct queue_pair *)job->subject;
  queue_pair->working = false;
  queue_pair->aborted = true;
  queue_pair_advance(queue_pair, env);
}

static void work_destroy(struct job *job) {
  int error = verbs.destroy_qp(((struct queue_pair *)job->subject)->qp);
  if (error != 0) fault_errno(&job->fault, ERR_QUEUE_PAIR, "ibv_destroy_qp", error);
}

static void done_destroy(struct job *job, napi_env env) {
  struct queue_pair *queue_pair = (struct queue_pair *)job->subject;
  queue_pair->working = false;
  if (job->fault.code == NULL) {
    queue_pair_gone(queue_pair, env);
    return;
  }
  queue_pair->freed = false;
  promise_reject(env, queue_pair->free_deferred, &job->fault);
  queue_pair->free_deferred = NULL;
}

static void start(struct queue_pair *queue_pair, void (*work)(struct job *), void (*done)(struct job *, napi_env)) {
  struct job *job = job_new(sizeof *job, queue_pair->object.environment, &queue_pair->object);
  job->work = work;
  job->done = done;
  queue_pair->working = true;
  job_start(job);
}

void queue_pair_advance(struct queue_pair *queue_pair, napi_env env) {
  if (queue_pair->working || queue_pair->domain->context->state != CONTEXT_OPEN) return;
  if (queue_pair->abort_wanted && !queue_pair->aborted) {
    start(queue_pair, work_abort, done_abort);
    return;
  }
  if (queue_pair->reads > 0) return;
  if (queue_pair->aborted) waiters_settle(&queue_pair->aborters, env);
  if (queue_pair->freed) start(queue_pair, work_destroy, done_destroy);
}

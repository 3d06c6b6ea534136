#include "queue-pair.h"

#include <errno.h>
#include <stdlib.h>

#include "arguments.h"
#include "counters.h"
#include "job.h"
#include "read.h"
#include "value.h"

struct make_job {
  struct job job;
  uint32_t reads_max;
  bool remote_read;
  struct verbs_qp *qp;
};

static void on_abandoned(struct object *object) {
  struct queue_pair *queue_pair = (struct queue_pair *)object;
  if (queue_pair->freed) return;
  /* Its reads are over: they would have kept the handle. */
  queue_pair->freed = true;
  queue_pair_advance(queue_pair, NULL);
}

static void work_make(struct job *job) {
  struct make_job *making = (struct make_job *)job;
  struct domain *domain = (struct domain *)job->subject;
  struct verbs_cq *completions = domain->context->port.completions;
  struct verbs_qp_init_attr init = {
    .send_cq = completions,
    .recv_cq = completions,
    .cap = {.max_send_wr = making->reads_max, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1},
    .qp_type = VERBS_QPT_RC,
  };
  making->qp = verbs.create_qp(domain->pd, &init);
  if (making->qp == NULL) {
    fault_errno(&job->fault, ERR_QUEUE_PAIR, "ibv_create_qp", errno);
    return;
  }
  struct verbs_qp_attr attr = {
    .qp_state = VERBS_QPS_INIT,
    .port_num = domain->context->port.number,
    .qp_access_flags = making->remote_read ? VERBS_ACCESS_REMOTE_READ : 0,
  };
  int error = verbs.modify_qp(making->qp, &attr, VERBS_QP_STATE | VERBS_QP_PKEY_INDEX | VERBS_QP_PORT | VERBS_QP_ACCESS_FLAGS);
  if (error == 0) return;
  fault_errno(&job->fault, ERR_QUEUE_PAIR, "ibv_modify_qp to INIT", error);
  verbs.destroy_qp(making->qp);
}

static struct queue_pair *queue_pair_new(struct domain *domain, const struct make_job *making) {
  struct queue_pair *queue_pair = memory_for(sizeof *queue_pair + making->reads_max * sizeof(struct read));
  object_begin(&queue_pair->object, OBJECT_QUEUE_PAIR, domain->object.environment, &domain->object);
  queue_pair->object.on_abandoned = on_abandoned;
  queue_pair->domain = domain;
  queue_pair->qp = making->qp;
  queue_pair->number = making->qp->qp_num;
  queue_pair->reads_max = making->reads_max;
  for (uint32_t at = making->reads_max; at-- > 0;) {
    struct read *read = &queue_pair->slots[at];
    read->queue_pair = queue_pair;
    read->next_free = queue_pair->free_reads;
    queue_pair->free_reads = read;
  }
  list_add(&domain->context->queue_pairs, &queue_pair->link);
  counter_add(live_queue_pairs, 1);
  return queue_pair;
}

static napi_value handle_of(napi_env env, struct queue_pair *queue_pair) {
  if (env == NULL) return object_handle(env, &queue_pair->object, NULL, NULL, 0);
  const napi_property_descriptor number = {
    .utf8name = "number",
    .value = value_number(env, queue_pair->number),
    .attributes = napi_enumerable,
  };
  return object_handle(env, &queue_pair->object, object_value(env, &queue_pair->domain->object), &number, 1);
}

static void done_make(struct job *job, napi_env env) {
  struct domain *domain = (struct domain *)job->subject;
  struct make_job *making = (struct make_job *)job;
  if (job->fault.code == NULL) {
    struct queue_pair *queue_pair = queue_pair_new(domain, making);
    if (domain->context->state == CONTEXT_OPEN) {
      napi_value handle = handle_of(env, queue_pair);
      if (handle != NULL) promise_resolve(env, job->deferred, handle);
      return;
    }
    fault_set(&job->fault, ERR_CLOSED, "The context is closed");
  } else {
    domain->children--;
    domain->context->completions_reserved -= making->reads_max;
  }
  promise_reject(env, job->deferred, &job->fault);
}

napi_value queue_pair_make(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  napi_value reads_value, remote_value;
  uint64_t reads_max = 0;
  bool remote_read = false;
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct domain *domain = object_of(env, arguments.values[0], OBJECT_DOMAIN, "domain");
  napi_value options = arguments.values[1];
  bool ok = domain != NULL && argument_object(env, options, "options") && argument_property(env, options, "readsMax", &reads_value) &&
            argument_property(env, options, "remoteRead", &remote_value) &&
            argument_whole(env, reads_value, "readsMax", 1, domain->context->port.reads_posted_max, &reads_max) &&
            argument_boolean(env, remote_value, "remoteRead", &remote_read);
  if (!ok) return NULL;
  const char *refusal = domain_refusal(domain);
  if (refusal != NULL) return promise_refused(env, ERR_CLOSED, refusal);
  struct context *context = domain->context;
  /* The completion queue must never overflow. */
  if (reads_max > context->port.completions_max - context->completions_reserved) {
    return promise_refused(env, ERR_QUEUE_PAIR, "All queue pairs of the context together may have no more reads on their way");
  }
  struct make_job *making = job_new(sizeof *making, arguments.environment, &domain->object);
  making->reads_max = (uint32_t)reads_max;
  making->remote_read = remote_read;
  making->job.work = work_make;
  making->job.done = done_make;
  napi_value promise = promise_begin(env, &making->job.deferred);
  if (promise == NULL) {
    free(making);
    return NULL;
  }
  domain->children++;
  context->completions_reserved += making->reads_max;
  job_start(&making->job);
  return promise;
}

napi_value queue_pair_abort(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  napi_deferred deferred = NULL;
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct queue_pair *queue_pair = object_of(env, arguments.values[0], OBJECT_QUEUE_PAIR, "queuePair");
  if (queue_pair == NULL) return NULL;
  napi_value promise = promise_begin(env, &deferred);
  if (promise == NULL) return NULL;
  if (queue_pair->gone) {
    promise_resolve(env, deferred, NULL);
    return promise;
  }
  waiter_add(&queue_pair->aborters, deferred);
  queue_pair->failed = true;
  queue_pair->abort_wanted = true;
  queue_pair_advance(queue_pair, env);
  return promise;
}

napi_value queue_pair_free_call(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  if (!arguments_read(env, info, &arguments)) return NULL;
  struct queue_pair *queue_pair = object_of(env, arguments.values[0], OBJECT_QUEUE_PAIR, "queuePair");
  if (queue_pair == NULL) return NULL;
  const char *refusal = queue_pair_refusal(queue_pair);
  if (refusal != NULL) return promise_refused(env, ERR_CLOSED, refusal);
  if (queue_pair->reads > 0) return promise_refused(env, ERR_BUSY, "Reads are on their way");
  napi_value promise = promise_begin(env, &queue_pair->free_deferred);
  if (promise == NULL) return NULL;
  queue_pair->freed = true;
  queue_pair_advance(queue_pair, env);
  return promise;
}

void queue_pair_gone(struct queue_pair *queue_pair, napi_env env) {
  struct domain *domain = queue_pair->domain;
  queue_pair->freed = true;
  queue_pair->gone = true;
  list_remove(&queue_pair->link);
  counter_subtract(live_queue_pairs, 1);
  read_flush_all(queue_pair, env);
  waiters_settle(&queue_pair->aborters, env);
  promise_resolve(env, queue_pair->free_deferred, NULL);
  queue_pair->free_deferred = NULL;
  domain->context->completions_reserved -= queue_pair->reads_max;
  domain->children--;
  domain_advance(domain);
  object_release(&queue_pair->object);
}

const char *queue_pair_refusal(const struct queue_pair *queue_pair) {
  if (queue_pair->domain->context->state != CONTEXT_OPEN) return "The context is closed";
  return queue_pair->freed ? "The queue pair is freed" : NULL;
}

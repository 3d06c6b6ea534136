/* Queue pairs and their states. */
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provider.h"

static int place(struct context *context, struct queue_pair *queue_pair) {
  for (unsigned tried = 0; tried < QUEUE_PAIRS_MAX; tried++) {
    context->last_queue_pair = (context->last_queue_pair + 1) % QUEUE_PAIRS_MAX;
    if (context->queue_pairs[context->last_queue_pair] != NULL) continue;
    context->queue_pairs[context->last_queue_pair] = queue_pair;
    queue_pair->verbs.qp_num = (uint32_t)context->tcp_port << 8 | context->last_queue_pair;
    return 0;
  }
  return ENOMEM;
}

EXPORT struct verbs_qp *ibv_create_qp(struct verbs_pd *pd, struct verbs_qp_init_attr *init) {
  struct context *context = (struct context *)pd->context;
  bool wrong = init->qp_type != VERBS_QPT_RC || init->cap.max_send_wr > SENDS_MAX || init->send_cq == NULL || init->recv_cq == NULL;
  errno = wrong ? EINVAL : ordered("ibv_create_qp");
  if (errno != 0) return NULL;
  struct queue_pair *queue_pair = calloc(1, sizeof *queue_pair);
  queue_pair->verbs = (struct verbs_qp){
    .context = pd->context,
    .qp_context = init->qp_context,
    .pd = pd,
    .send_cq = init->send_cq,
    .recv_cq = init->recv_cq,
    .qp_type = VERBS_QPT_RC,
  };
  queue_pair->sends_max = init->cap.max_send_wr;
  queue_pair->socket = -1;
  queue_pair->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  pthread_mutex_init(&queue_pair->mutex, NULL);
  pthread_cond_init(&queue_pair->changed, NULL);
  pthread_mutex_lock(&context->mutex);
  int error = place(context, queue_pair);
  pthread_mutex_unlock(&context->mutex);
  if (error != 0) {
    close(queue_pair->wake);
    free(queue_pair);
    errno = error;
    return NULL;
  }
  __atomic_add_fetch(&((struct domain *)pd)->children, 1, __ATOMIC_SEQ_CST);
  control_count(QUEUE_PAIRS, 1);
  return &queue_pair->verbs;
}

void queue_pair_fail(struct queue_pair *queue_pair) {
  pthread_mutex_lock(&queue_pair->mutex);
  queue_pair->verbs.state = VERBS_QPS_ERR;
  if (queue_pair->socket >= 0) shutdown(queue_pair->socket, SHUT_RDWR);
  pthread_cond_broadcast(&queue_pair->changed);
  pthread_mutex_unlock(&queue_pair->mutex);
  eventfd_write(queue_pair->wake, 1);
}

/* Which attributes a state wants, each exactly; -1: it cannot be reached from the one before. */
static int wanted(int from, int to) {
  if (from == VERBS_QPS_RESET && to == VERBS_QPS_INIT) {
    return VERBS_QP_PKEY_INDEX | VERBS_QP_PORT | VERBS_QP_ACCESS_FLAGS;
  }
  if (from == VERBS_QPS_INIT && to == VERBS_QPS_RTR) {
    return VERBS_QP_AV | VERBS_QP_PATH_MTU | VERBS_QP_DEST_QPN | VERBS_QP_RQ_PSN | VERBS_QP_MAX_DEST_RD_ATOMIC | VERBS_QP_MIN_RNR_TIMER;
  }
  if (from == VERBS_QPS_RTR && to == VERBS_QPS_RTS) {
    return VERBS_QP_TIMEOUT | VERBS_QP_RETRY_CNT | VERBS_QP_RNR_RETRY | VERBS_QP_SQ_PSN | VERBS_QP_MAX_RD_ATOMIC;
  }
  return -1;
}

static bool plausible(const struct verbs_qp_attr *attr, int mask) {
  if ((mask & VERBS_QP_PORT) != 0 && attr->port_num != 1) return false;
  if ((mask & VERBS_QP_PATH_MTU) != 0 && (attr->path_mtu < 1 || attr->path_mtu > 5)) return false;
  /* An Ethernet port needs a global route. */
  if ((mask & VERBS_QP_AV) != 0 && (attr->ah_attr.is_global != 1 || attr->ah_attr.grh.sgid_index > 1)) return false;
  if ((mask & VERBS_QP_MAX_RD_ATOMIC) != 0 && attr->max_rd_atomic > 16) return false;
  if ((mask & VERBS_QP_MAX_DEST_RD_ATOMIC) != 0 && attr->max_dest_rd_atomic > 16) return false;
  return true;
}

static void take_over(struct verbs_qp_attr *own, const struct verbs_qp_attr *attr, int mask) {
  if ((mask & VERBS_QP_ACCESS_FLAGS) != 0) own->qp_access_flags = attr->qp_access_flags;
  if ((mask & VERBS_QP_AV) != 0) own->ah_attr = attr->ah_attr;
  if ((mask & VERBS_QP_DEST_QPN) != 0) own->dest_qp_num = attr->dest_qp_num;
  if ((mask & VERBS_QP_MAX_RD_ATOMIC) != 0) own->max_rd_atomic = attr->max_rd_atomic;
}

EXPORT int ibv_modify_qp(struct verbs_qp *qp, struct verbs_qp_attr *attr, int mask) {
  struct queue_pair *queue_pair = (struct queue_pair *)qp;
  static const char *const names[] = {[VERBS_QPS_INIT] = "INIT", [VERBS_QPS_RTR] = "RTR", [VERBS_QPS_RTS] = "RTS", [VERBS_QPS_ERR] = "ERR"};
  int to = attr->qp_state;
  if ((mask & VERBS_QP_STATE) == 0 || to < VERBS_QPS_INIT || to > VERBS_QPS_ERR || names[to] == NULL) return EINVAL;
  int error = ordered(names[to]);
  if (error != 0) return error;
  if (to == VERBS_QPS_ERR) {
    queue_pair->aborted = true;
    queue_pair_fail(queue_pair);
    return 0;
  }
  struct context *context = (struct context *)qp->context;
  pthread_mutex_lock(&context->mutex);
  bool ok = (mask & ~VERBS_QP_STATE) == wanted(qp->state, to) && plausible(attr, mask);
  if (ok) {
    take_over(&queue_pair->attr, attr, mask);
    qp->state = to;
    pthread_cond_broadcast(&context->changed); /* Somebody may be waiting to be answered by it. */
  }
  pthread_mutex_unlock(&context->mutex);
  if (ok && to == VERBS_QPS_RTS) {
    queue_pair->running = true;
    pthread_create(&queue_pair->requester, NULL, requester_main, queue_pair);
  }
  return ok ? 0 : EINVAL;
}

EXPORT int ibv_destroy_qp(struct verbs_qp *qp) {
  struct queue_pair *queue_pair = (struct queue_pair *)qp;
  struct context *context = (struct context *)qp->context;
  int error = ordered("ibv_destroy_qp");
  if (error != 0) return error;
  pthread_mutex_lock(&context->mutex);
  context->queue_pairs[qp->qp_num % QUEUE_PAIRS_MAX] = NULL;
  pthread_mutex_unlock(&context->mutex);
  queue_pair->stopping = true;
  queue_pair_fail(queue_pair);
  if (queue_pair->running) pthread_join(queue_pair->requester, NULL);
  responder_end(context, queue_pair);
  notes_forget(&context->events, queue_pair);
  pthread_mutex_lock(&queue_pair->mutex);
  while (queue_pair->taken > 0) pthread_cond_wait(&queue_pair->changed, &queue_pair->mutex);
  pthread_mutex_unlock(&queue_pair->mutex);
  close(queue_pair->wake);
  __atomic_sub_fetch(&((struct domain *)qp->pd)->children, 1, __ATOMIC_SEQ_CST);
  free(queue_pair);
  control_count(QUEUE_PAIRS, -1);
  return 0;
}

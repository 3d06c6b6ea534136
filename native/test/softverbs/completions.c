/* Completion queues and the channels that tell of them. */
#include <errno.h>

#include "provider.h"

EXPORT struct verbs_comp_channel *ibv_create_comp_channel(struct verbs_context *verbs) {
  errno = ordered("ibv_create_comp_channel");
  if (errno != 0) return NULL;
  struct channel *channel = calloc(1, sizeof *channel);
  if (!notes_begin(&channel->notes)) {
    free(channel);
    return NULL;
  }
  channel->verbs.context = verbs;
  channel->verbs.fd = channel->notes.fd;
  control_count(CHANNELS, 1);
  return &channel->verbs;
}

EXPORT int ibv_destroy_comp_channel(struct verbs_comp_channel *verbs) {
  struct channel *channel = (struct channel *)verbs;
  if (verbs->refcnt > 0) return EBUSY;
  notes_end(&channel->notes);
  free(channel);
  control_count(CHANNELS, -1);
  return 0;
}

EXPORT struct verbs_cq *ibv_create_cq(struct verbs_context *verbs, int entries, void *own, struct verbs_comp_channel *channel, int vector) {
  errno = entries < 1 || entries > COMPLETIONS_MAX || vector != 0 ? EINVAL : ordered("ibv_create_cq");
  if (errno != 0) return NULL;
  struct completions *completions = calloc(1, sizeof *completions);
  completions->verbs = (struct verbs_cq){.context = verbs, .channel = channel, .cq_context = own, .cqe = entries};
  completions->size = (unsigned)entries;
  completions->ring = calloc(completions->size, sizeof *completions->ring);
  pthread_mutex_init(&completions->mutex, NULL);
  pthread_cond_init(&completions->acknowledged, NULL);
  if (channel != NULL) channel->refcnt++;
  control_count(COMPLETIONS, 1);
  return &completions->verbs;
}

EXPORT int ibv_destroy_cq(struct verbs_cq *cq) {
  struct completions *completions = (struct completions *)cq;
  if (cq->channel != NULL) {
    notes_forget(&((struct channel *)cq->channel)->notes, cq);
    cq->channel->refcnt--;
  }
  pthread_mutex_lock(&completions->mutex);
  while (completions->taken > 0) pthread_cond_wait(&completions->acknowledged, &completions->mutex);
  pthread_mutex_unlock(&completions->mutex);
  free(completions->ring);
  free(completions);
  control_count(COMPLETIONS, -1);
  return 0;
}

EXPORT int ibv_get_cq_event(struct verbs_comp_channel *channel, struct verbs_cq **cq, void **own) {
  struct note note;
  if (notes_take(&((struct channel *)channel)->notes, &note) != 0) return -1;
  struct completions *completions = note.element;
  pthread_mutex_lock(&completions->mutex);
  completions->taken++;
  pthread_mutex_unlock(&completions->mutex);
  *cq = &completions->verbs;
  *own = completions->verbs.cq_context;
  return 0;
}

EXPORT void ibv_ack_cq_events(struct verbs_cq *cq, unsigned count) {
  struct completions *completions = (struct completions *)cq;
  pthread_mutex_lock(&completions->mutex);
  completions->taken -= count;
  pthread_cond_broadcast(&completions->acknowledged);
  pthread_mutex_unlock(&completions->mutex);
}

void complete(struct queue_pair *queue_pair, const struct operation *operation, int status) {
  struct completions *completions = (struct completions *)queue_pair->verbs.send_cq;
  pthread_mutex_lock(&completions->mutex);
  bool full = completions->count == completions->size;
  if (!full) {
    completions->ring[(completions->first + completions->count++) % completions->size] = (struct verbs_wc){
      .wr_id = operation->id,
      .status = status,
      .opcode = VERBS_WC_RDMA_READ,
      .byte_len = status == VERBS_WC_SUCCESS ? operation->memory.length : 0,
      .qp_num = queue_pair->verbs.qp_num,
    };
  }
  bool tell = completions->armed && completions->verbs.channel != NULL;
  completions->armed = false;
  pthread_mutex_unlock(&completions->mutex);
  /* As with the real thing, what does not fit is lost, and the queue with it. */
  if (full) notes_add(&((struct context *)queue_pair->verbs.context)->events, VERBS_EVENT_CQ_ERR, completions);
  if (tell) notes_add(&((struct channel *)completions->verbs.channel)->notes, 0, completions);
}

int completions_poll(struct verbs_cq *cq, int count, struct verbs_wc *batch) {
  struct completions *completions = (struct completions *)cq;
  int taken = 0;
  pthread_mutex_lock(&completions->mutex);
  while (taken < count && completions->count > 0) {
    batch[taken++] = completions->ring[completions->first];
    completions->first = (completions->first + 1) % completions->size;
    completions->count--;
  }
  pthread_mutex_unlock(&completions->mutex);
  return taken;
}

/* Only what completes from now on makes an event. */
int completions_arm(struct verbs_cq *cq, int solicited) {
  (void)solicited;
  struct completions *completions = (struct completions *)cq;
  pthread_mutex_lock(&completions->mutex);
  completions->armed = true;
  pthread_mutex_unlock(&completions->mutex);
  return 0;
}

EXPORT const char *ibv_wc_status_str(int status) {
  switch (status) {
    case VERBS_WC_SUCCESS:
      return "success";
    case VERBS_WC_LOC_PROT_ERR:
      return "local protection error";
    case VERBS_WC_WR_FLUSH_ERR:
      return "Work Request Flushed Error";
    case VERBS_WC_REM_ACCESS_ERR:
      return "remote access error";
    case VERBS_WC_RETRY_EXC_ERR:
      return "transport retry counter exceeded";
    default:
      return "unknown";
  }
}

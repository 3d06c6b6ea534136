#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provider.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct context *contexts;
static bool down;
static char the_device; /* its address is the device */

static struct in_addr address(void) {
  struct in_addr found = {htonl(INADDR_LOOPBACK)};
  const char *text = getenv("SOFTVERBS_ADDR");
  if (text != NULL) inet_pton(AF_INET, text, &found);
  return found;
}

EXPORT struct verbs_device **ibv_get_device_list(int *count) {
  control_begin();
  int error = ordered("ibv_get_device_list");
  if (error != 0) {
    errno = error;
    return NULL;
  }
  struct verbs_device **list = calloc(2, sizeof *list);
  list[0] = (struct verbs_device *)&the_device;
  if (count != NULL) *count = 1;
  return list;
}

EXPORT void ibv_free_device_list(struct verbs_device **list) {
  free(list);
}

EXPORT const char *ibv_get_device_name(struct verbs_device *device) {
  (void)device;
  return "soft0";
}

static bool listen_at(struct context *context) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = address()};
  socklen_t length = sizeof at;
  context->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(context->listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(context->listener, 64) != 0 ||
      getsockname(context->listener, (struct sockaddr *)&at, &length) != 0) {
    return false;
  }
  context->tcp_port = ntohs(at.sin_port);
  return true;
}

EXPORT struct verbs_context *ibv_open_device(struct verbs_device *device) {
  errno = ordered("ibv_open_device");
  if (errno != 0) return NULL;
  struct context *context = calloc(1, sizeof *context);
  context->verbs.device = device;
  context->verbs.poll_cq = completions_poll;
  context->verbs.req_notify_cq = completions_arm;
  context->verbs.post_send = requester_post;
  context->verbs.cmd_fd = -1;
  context->verbs.num_comp_vectors = 1;
  pthread_mutex_init(&context->mutex, NULL);
  pthread_cond_init(&context->changed, NULL);
  if (!notes_begin(&context->events) || !listen_at(context)) {
    close(context->listener);
    free(context);
    return NULL;
  }
  context->verbs.async_fd = context->events.fd;
  pthread_create(&context->acceptor, NULL, acceptor_main, context);
  pthread_mutex_lock(&mutex);
  context->next = contexts;
  contexts = context;
  pthread_mutex_unlock(&mutex);
  control_count(CONTEXTS, 1);
  return &context->verbs;
}

EXPORT int ibv_close_device(struct verbs_context *verbs) {
  struct context *context = (struct context *)verbs;
  pthread_mutex_lock(&mutex);
  struct context **at = &contexts;
  while (*at != context) at = &(*at)->next;
  *at = context->next;
  pthread_mutex_unlock(&mutex);
  shutdown(context->listener, SHUT_RDWR);
  pthread_join(context->acceptor, NULL);
  close(context->listener);
  responder_end(context, NULL);
  notes_end(&context->events);
  free(context);
  control_count(CONTEXTS, -1);
  return 0;
}

EXPORT int ibv_query_device(struct verbs_context *verbs, struct verbs_device_attr *attr) {
  (void)verbs;
  *attr = (struct verbs_device_attr){
    .fw_ver = "soft",
    .max_mr_size = UINT64_MAX,
    .max_qp = QUEUE_PAIRS_MAX,
    .max_qp_wr = SENDS_MAX,
    .max_sge = 1,
    .max_cqe = COMPLETIONS_MAX,
    .max_mr = REGIONS_MAX,
    .max_qp_rd_atom = 16,
    .max_qp_init_rd_atom = 16,
    .phys_port_cnt = 1,
  };
  return ordered("ibv_query_device");
}

EXPORT int ibv_query_port(struct verbs_context *verbs, uint8_t port, struct verbs_port_attr *attr) {
  (void)verbs;
  if (port != 1) return EINVAL;
  /* The real one fills no more of it than the first version of the struct had. */
  memset(attr, 0, offsetof(struct verbs_port_attr, port_cap_flags2));
  attr->state = port_is_down() ? VERBS_PORT_DOWN : VERBS_PORT_ACTIVE;
  attr->max_mtu = attr->active_mtu = 5;
  attr->gid_tbl_len = GIDS_MAX;
  attr->max_msg_sz = MESSAGE_BYTES_MAX;
  attr->link_layer = VERBS_LINK_ETHERNET;
  return ordered("ibv_query_port");
}

/* As with Soft-RoCE: 0 is link-local, 1 is the IPv4 address, the others are there and empty. */
EXPORT int ibv_query_gid(struct verbs_context *verbs, uint8_t port, int index, union verbs_gid *gid) {
  (void)verbs;
  errno = port != 1 || index < 0 || index >= GIDS_MAX ? EINVAL : ordered("ibv_query_gid");
  if (errno != 0) return -1;
  struct in_addr own = address();
  memset(gid, 0, sizeof *gid);
  if (index > 1) return 0;
  if (index == 0) {
    gid->raw[0] = 0xfe;
    gid->raw[1] = 0x80;
  } else {
    gid->raw[10] = gid->raw[11] = 0xff;
  }
  memcpy(gid->raw + 12, &own, sizeof own);
  return 0;
}

EXPORT ssize_t _ibv_query_gid_table(struct verbs_context *verbs, struct verbs_gid_entry *entries, size_t most, uint32_t flags, size_t size) {
  if (size != sizeof *entries || flags != 0) return -EINVAL;
  size_t count = 0;
  for (; count < 2 && count < most; count++) {
    entries[count] = (struct verbs_gid_entry){.gid_index = (uint32_t)count, .port_num = 1, .gid_type = VERBS_GID_ROCE_V2};
    ibv_query_gid(verbs, 1, (int)count, &entries[count].gid);
  }
  return (ssize_t)count;
}

EXPORT int ibv_get_async_event(struct verbs_context *verbs, struct verbs_async_event *event) {
  struct note note;
  if (notes_take(&((struct context *)verbs)->events, &note) != 0) return -1;
  event->event_type = note.type;
  if (note.type >= VERBS_EVENT_QP_FATAL && note.type <= VERBS_EVENT_PATH_MIG_ERR) {
    struct queue_pair *queue_pair = note.element;
    pthread_mutex_lock(&queue_pair->mutex);
    queue_pair->taken++;
    pthread_mutex_unlock(&queue_pair->mutex);
    event->element.qp = &queue_pair->verbs;
  } else {
    event->element.port_num = 1;
  }
  return 0;
}

EXPORT void ibv_ack_async_event(struct verbs_async_event *event) {
  if (event->event_type < VERBS_EVENT_QP_FATAL || event->event_type > VERBS_EVENT_PATH_MIG_ERR) return;
  struct queue_pair *queue_pair = (struct queue_pair *)event->element.qp;
  pthread_mutex_lock(&queue_pair->mutex);
  queue_pair->taken--;
  pthread_cond_broadcast(&queue_pair->changed);
  pthread_mutex_unlock(&queue_pair->mutex);
}

EXPORT int ibv_fork_init(void) {
  return 0;
}

static void every(void (*act)(struct context *, int), int argument) {
  pthread_mutex_lock(&mutex);
  for (struct context *context = contexts; context != NULL; context = context->next) act(context, argument);
  pthread_mutex_unlock(&mutex);
}

static void event(struct context *context, int type) {
  notes_add(&context->events, type, NULL);
}

static void cut(struct context *context, int argument) {
  (void)argument;
  responder_cut(context);
}

void contexts_event(int type) {
  every(event, type);
}

void contexts_cut(void) {
  every(cut, 0);
}

void port_set(bool is_down) {
  __atomic_store_n(&down, is_down, __ATOMIC_SEQ_CST);
  if (is_down) contexts_cut();
  contexts_event(is_down ? VERBS_EVENT_PORT_ERR : VERBS_EVENT_PORT_ACTIVE);
}

bool port_is_down(void) {
  return __atomic_load_n(&down, __ATOMIC_SEQ_CST);
}

/* The side that reads. One thread per queue pair owns the lists of its operations, sends the requests, receives straight into the memory, and flushes after an error. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provider.h"
#include "wire.h"

static void append(struct operations *list, struct operation *operation) {
  operation->next = NULL;
  if (list->first == NULL) {
    list->first = operation;
  } else {
    list->last->next = operation;
  }
  list->last = operation;
  list->count++;
}

static struct operation *take(struct operations *list) {
  struct operation *operation = list->first;
  list->first = operation->next;
  list->count--;
  return operation;
}

int requester_post(struct verbs_qp *qp, struct verbs_send_wr *request, struct verbs_send_wr **refused) {
  struct queue_pair *queue_pair = (struct queue_pair *)qp;
  int error = ordered("ibv_post_send");
  *refused = request;
  if (error != 0) return error;
  if (request->next != NULL || request->opcode != VERBS_WR_RDMA_READ || request->num_sge != 1 ||
      request->send_flags != VERBS_SEND_SIGNALED) {
    return EINVAL;
  }
  struct operation *operation = malloc(sizeof *operation);
  *operation = (struct operation){NULL, request->wr_id, request->sg_list[0], request->remote_addr, request->rkey};
  pthread_mutex_lock(&queue_pair->mutex);
  bool ready = queue_pair->running && (qp->state == VERBS_QPS_RTS || qp->state == VERBS_QPS_ERR);
  if (!ready || queue_pair->posted.count + queue_pair->sent.count >= queue_pair->sends_max) {
    error = ready ? ENOMEM : EINVAL;
    free(operation);
  } else {
    append(&queue_pair->posted, operation);
    pthread_cond_broadcast(&queue_pair->changed);
  }
  pthread_mutex_unlock(&queue_pair->mutex);
  eventfd_write(queue_pair->wake, 1);
  return error;
}

static bool alive(const struct queue_pair *queue_pair) {
  return queue_pair->verbs.state == VERBS_QPS_RTS;
}

/* Waits for something to do; false: the queue pair is not alive. */
static bool wait_for_work(struct queue_pair *queue_pair) {
  pthread_mutex_lock(&queue_pair->mutex);
  while (alive(queue_pair) && queue_pair->posted.count == 0 && queue_pair->sent.count == 0) {
    pthread_cond_wait(&queue_pair->changed, &queue_pair->mutex);
  }
  bool answer = alive(queue_pair);
  pthread_mutex_unlock(&queue_pair->mutex);
  return answer;
}

static bool connect_to(struct queue_pair *queue_pair) {
  const uint8_t *gid = queue_pair->attr.ah_attr.grh.dgid.raw;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(queue_pair->attr.dest_qp_num >> 8))};
  memcpy(&to.sin_addr, gid + 12, sizeof to.sin_addr);
  int one = 1;
  int opened = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(opened, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct hello hello = {HELLO_MAGIC, queue_pair->attr.dest_qp_num, queue_pair->verbs.qp_num};
  bool ok = !port_is_down() && connect(opened, (struct sockaddr *)&to, sizeof to) == 0 && wire_send(opened, &hello, sizeof hello);
  pthread_mutex_lock(&queue_pair->mutex);
  ok = ok && alive(queue_pair);
  if (ok) queue_pair->socket = opened;
  pthread_mutex_unlock(&queue_pair->mutex);
  if (!ok) close(opened);
  return ok;
}

/* As many requests as may be on their way. */
static bool send_requests(struct queue_pair *queue_pair) {
  for (;;) {
    struct request request;
    pthread_mutex_lock(&queue_pair->mutex);
    bool one = alive(queue_pair) && queue_pair->posted.count > 0 && queue_pair->sent.count < queue_pair->attr.max_rd_atomic;
    if (one) {
      struct operation *operation = take(&queue_pair->posted);
      request = (struct request){operation->address, operation->memory.length, operation->key, 0};
      append(&queue_pair->sent, operation);
    }
    pthread_mutex_unlock(&queue_pair->mutex);
    if (!one) return true;
    if (!wire_send(queue_pair->socket, &request, sizeof request)) return false;
  }
}

/* Until there is something to receive. What is posted meanwhile is asked for at once. */
static bool wait_for_bytes(struct queue_pair *queue_pair) {
  struct pollfd descriptors[] = {{.fd = queue_pair->socket, .events = POLLIN}, {.fd = queue_pair->wake, .events = POLLIN}};
  while (poll(descriptors, 2, -1) < 0) {
    if (errno != EINTR) return false;
  }
  eventfd_t count;
  if ((descriptors[1].revents & POLLIN) != 0) {
    eventfd_read(queue_pair->wake, &count);
    return alive(queue_pair) && send_requests(queue_pair);
  }
  return true;
}

static bool receive_part(struct queue_pair *queue_pair, struct part *part) {
  char *at = (char *)part;
  size_t left = sizeof *part;
  while (left > 0) {
    ssize_t received = recv(queue_pair->socket, at, left, MSG_DONTWAIT);
    if (received > 0) {
      at += received;
      left -= (size_t)received;
    } else if (received == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for_bytes(queue_pair)) {
      return false;
    }
  }
  return true;
}

/* Status of the completion. Each system call writes to memory that is registered at that time. */
static int receive_bytes(struct queue_pair *queue_pair, const struct operation *operation, uint64_t offset, uint64_t length) {
  struct context *context = (struct context *)queue_pair->verbs.context;
  uint64_t address = operation->memory.addr + offset;
  while (length > 0) {
    struct region *region = memory_enter(context, queue_pair->verbs.pd, operation->memory.lkey, address, length, VERBS_ACCESS_LOCAL_WRITE);
    if (region == NULL) return VERBS_WC_LOC_PROT_ERR;
    ssize_t received = recv(queue_pair->socket, (void *)(uintptr_t)address, length, MSG_DONTWAIT);
    int error = errno;
    memory_leave(context, region);
    if (received > 0) {
      address += (uint64_t)received;
      length -= (uint64_t)received;
    } else if (received == 0 || (error != EAGAIN && error != EINTR) || !wait_for_bytes(queue_pair)) {
      return VERBS_WC_RETRY_EXC_ERR;
    }
  }
  return VERBS_WC_SUCCESS;
}

static int receive_answer(struct queue_pair *queue_pair, const struct operation *operation) {
  uint64_t length = operation->memory.length;
  for (uint64_t offset = 0; offset < length;) {
    struct part part;
    if (!receive_part(queue_pair, &part)) return VERBS_WC_RETRY_EXC_ERR;
    if (part.status != VERBS_WC_SUCCESS) return (int)part.status;
    if (part.length == 0 || part.length > length - offset) return VERBS_WC_RETRY_EXC_ERR;
    int status = receive_bytes(queue_pair, operation, offset, part.length);
    if (status != VERBS_WC_SUCCESS) return status;
    offset += part.length;
  }
  return VERBS_WC_SUCCESS;
}

/* Takes the first operation off, whichever list it is in; NULL: none is left. */
static struct operation *next_operation(struct queue_pair *queue_pair) {
  pthread_mutex_lock(&queue_pair->mutex);
  struct operation *operation = NULL;
  if (queue_pair->sent.count > 0) {
    operation = take(&queue_pair->sent);
  } else if (queue_pair->posted.count > 0) {
    operation = take(&queue_pair->posted);
  }
  pthread_mutex_unlock(&queue_pair->mutex);
  return operation;
}

static void finish(struct queue_pair *queue_pair, int status) {
  struct operation *operation = next_operation(queue_pair);
  if (operation == NULL) return;
  /* A queue pair that is destroyed takes its operations with it. */
  if (!queue_pair->stopping) complete(queue_pair, operation, status);
  free(operation);
}

static void work(struct queue_pair *queue_pair) {
  while (wait_for_work(queue_pair)) {
    int status = VERBS_WC_RETRY_EXC_ERR;
    if ((queue_pair->socket >= 0 || connect_to(queue_pair)) && send_requests(queue_pair) && queue_pair->sent.count > 0) {
      status = receive_answer(queue_pair, queue_pair->sent.first);
    }
    if (status != VERBS_WC_SUCCESS && queue_pair->aborted) status = VERBS_WC_WR_FLUSH_ERR;
    if (status != VERBS_WC_SUCCESS) queue_pair_fail(queue_pair);
    finish(queue_pair, status);
  }
}

/* In state ERR everything is flushed, also what is posted then. */
static void flush(struct queue_pair *queue_pair) {
  pthread_mutex_lock(&queue_pair->mutex);
  for (;;) {
    while (queue_pair->sent.count > 0 || queue_pair->posted.count > 0) {
      pthread_mutex_unlock(&queue_pair->mutex);
      finish(queue_pair, VERBS_WC_WR_FLUSH_ERR);
      pthread_mutex_lock(&queue_pair->mutex);
    }
    if (queue_pair->stopping) break;
    pthread_cond_wait(&queue_pair->changed, &queue_pair->mutex);
  }
  pthread_mutex_unlock(&queue_pair->mutex);
}

void *requester_main(void *argument) {
  struct queue_pair *queue_pair = argument;
  work(queue_pair);
  flush(queue_pair);
  pthread_mutex_lock(&queue_pair->mutex);
  if (queue_pair->socket >= 0) close(queue_pair->socket);
  queue_pair->socket = -1;
  pthread_mutex_unlock(&queue_pair->mutex);
  return NULL;
}

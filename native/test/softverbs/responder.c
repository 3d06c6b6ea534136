/* The side that is read from: a thread per connection sends straight from the memory. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "provider.h"
#include "wire.h"

/* How long a connection waits for the queue pair that it wants to be ready. */
enum { PATIENCE_S = 2 };

static const char padding[65536];

static bool ready(const struct queue_pair *queue_pair, const struct hello *hello) {
  return queue_pair != NULL && queue_pair->verbs.qp_num == hello->wanted && queue_pair->attr.dest_qp_num == hello->own &&
         (queue_pair->verbs.state == VERBS_QPS_RTR || queue_pair->verbs.state == VERBS_QPS_RTS);
}

static bool find_queue_pair(struct connection *connection, const struct hello *hello) {
  struct context *context = connection->context;
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += PATIENCE_S;
  pthread_mutex_lock(&context->mutex);
  int waited = 0;
  struct queue_pair *queue_pair = context->queue_pairs[hello->wanted % QUEUE_PAIRS_MAX];
  while (!connection->closing && !ready(queue_pair, hello) && waited == 0) {
    waited = pthread_cond_timedwait(&context->changed, &context->mutex, &end);
    queue_pair = context->queue_pairs[hello->wanted % QUEUE_PAIRS_MAX];
  }
  bool ok = !connection->closing && ready(queue_pair, hello);
  if (ok) connection->queue_pair = queue_pair;
  pthread_mutex_unlock(&context->mutex);
  return ok;
}

static bool wait_for_room(int socket) {
  struct pollfd descriptor = {.fd = socket, .events = POLLOUT};
  while (poll(&descriptor, 1, -1) < 0) {
    if (errno != EINTR) return false;
  }
  return (descriptor.revents & (POLLERR | POLLHUP)) == 0;
}

static struct region *enter(const struct connection *connection, const struct request *request, uint64_t offset, uint64_t length) {
  const struct queue_pair *queue_pair = connection->queue_pair;
  if ((queue_pair->attr.qp_access_flags & VERBS_ACCESS_REMOTE_READ) == 0) return NULL;
  return memory_enter(connection->context, queue_pair->verbs.pd, request->key, request->address + offset, length, VERBS_ACCESS_REMOTE_READ);
}

/* One part with its head. Memory that is deregistered in the middle of it is replaced by zeros up to its end; the next part then says what happened. */
static bool send_part(const struct connection *connection, const struct request *request, uint64_t offset, struct part part) {
  size_t head = sizeof part;
  uint64_t sent = 0;
  while (head > 0 || sent < part.length) {
    uint64_t left = part.length - sent;
    struct region *region = enter(connection, request, offset + sent, left);
    const char *bytes = region == NULL ? padding : (const char *)(uintptr_t)(request->address + offset + sent);
    if (region == NULL && left > sizeof padding) left = sizeof padding;
    struct iovec pieces[] = {{(char *)&part + sizeof part - head, head}, {(void *)(uintptr_t)bytes, left}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    ssize_t done = sendmsg(connection->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    int error = errno;
    if (region != NULL) memory_leave(connection->context, region);
    if (done < 0) {
      if (error != EINTR && (error != EAGAIN || !wait_for_room(connection->socket))) return false;
      continue;
    }
    size_t of_head = (size_t)done < head ? (size_t)done : head;
    head -= of_head;
    sent += (uint64_t)done - of_head;
  }
  return true;
}

/* A wrong request is told, and ends this queue pair as well. */
static void refuse(const struct connection *connection) {
  struct part part = {.status = VERBS_WC_REM_ACCESS_ERR};
  struct request ignored;
  wire_send(connection->socket, &part, sizeof part);
  queue_pair_fail(connection->queue_pair);
  notes_add(&connection->context->events, VERBS_EVENT_QP_ACCESS_ERR, connection->queue_pair);
  /* Closed with requests unread, TCP would throw away what it has not sent yet. */
  shutdown(connection->socket, SHUT_WR);
  while (wire_receive(connection->socket, &ignored, sizeof ignored)) continue;
}

static bool answer(const struct connection *connection, const struct request *request) {
  if (request->length > MESSAGE_BYTES_MAX) return false;
  for (uint64_t offset = 0; offset < request->length;) {
    if (!control_wait(connection)) return false;
    /* As a whole, before its first byte; from then on only what is left. */
    struct region *region = enter(connection, request, offset, request->length - offset);
    if (region == NULL) {
      refuse(connection);
      return false;
    }
    memory_leave(connection->context, region);
    uint64_t left = request->length - offset;
    struct part part = {.length = (uint32_t)(left < PART_BYTES_MAX ? left : PART_BYTES_MAX)};
    if (!send_part(connection, request, offset, part)) return false;
    offset += part.length;
  }
  return true;
}

static void forget(struct connection *connection) {
  struct context *context = connection->context;
  pthread_mutex_lock(&context->mutex);
  struct connection **at = &context->connections;
  while (*at != connection) at = &(*at)->next;
  *at = connection->next;
  close(connection->socket);
  pthread_cond_broadcast(&context->changed);
  pthread_mutex_unlock(&context->mutex);
  free(connection);
}

static void *serve(void *argument) {
  struct connection *connection = argument;
  struct hello hello;
  struct request request;
  bool ok = wire_receive(connection->socket, &hello, sizeof hello) && hello.magic == HELLO_MAGIC && find_queue_pair(connection, &hello);
  while (ok) {
    ok = wire_receive(connection->socket, &request, sizeof request) && connection->queue_pair->verbs.state != VERBS_QPS_ERR &&
         answer(connection, &request);
  }
  forget(connection);
  return NULL;
}

void *acceptor_main(void *argument) {
  struct context *context = argument;
  for (;;) {
    int one = 1;
    int accepted = accept4(context->listener, NULL, NULL, SOCK_CLOEXEC);
    if (accepted < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EMFILE)) continue;
    if (accepted < 0) return NULL;
    if (port_is_down()) {
      close(accepted);
      continue;
    }
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *connection = calloc(1, sizeof *connection);
    connection->context = context;
    connection->socket = accepted;
    pthread_mutex_lock(&context->mutex);
    connection->next = context->connections;
    context->connections = connection;
    pthread_mutex_unlock(&context->mutex);
    pthread_t thread;
    pthread_create(&thread, NULL, serve, connection);
    pthread_detach(thread);
  }
}

static bool any(const struct context *context, const struct queue_pair *queue_pair) {
  for (const struct connection *connection = context->connections; connection != NULL; connection = connection->next) {
    if (queue_pair == NULL || connection->queue_pair == queue_pair) return true;
  }
  return false;
}

void responder_end(struct context *context, const struct queue_pair *queue_pair) {
  pthread_mutex_lock(&context->mutex);
  for (struct connection *connection = context->connections; connection != NULL; connection = connection->next) {
    if (queue_pair != NULL && connection->queue_pair != queue_pair) continue;
    __atomic_store_n(&connection->closing, true, __ATOMIC_SEQ_CST);
    shutdown(connection->socket, SHUT_RDWR);
  }
  pthread_cond_broadcast(&context->changed);
  control_changed();
  while (any(context, queue_pair)) pthread_cond_wait(&context->changed, &context->mutex);
  pthread_mutex_unlock(&context->mutex);
}

void responder_cut(struct context *context) {
  pthread_mutex_lock(&context->mutex);
  for (struct connection *connection = context->connections; connection != NULL; connection = connection->next) {
    shutdown(connection->socket, SHUT_RDWR);
  }
  for (unsigned at = 0; at < QUEUE_PAIRS_MAX; at++) {
    struct queue_pair *queue_pair = context->queue_pairs[at];
    if (queue_pair == NULL) continue;
    pthread_mutex_lock(&queue_pair->mutex);
    if (queue_pair->socket >= 0) shutdown(queue_pair->socket, SHUT_RDWR);
    pthread_mutex_unlock(&queue_pair->mutex);
  }
  pthread_mutex_unlock(&context->mutex);
}

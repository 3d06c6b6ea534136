/* What went wrong, as it travels from the thread pool to JavaScript. */
#ifndef RDMA_FAULT_H
#define RDMA_FAULT_H

#define NAPI_VERSION 8
#include <node_api.h>

#define ERR_UNAVAILABLE "ERR_RDMA_UNAVAILABLE"
#define ERR_NO_DEVICE "ERR_RDMA_NO_DEVICE"
#define ERR_OPEN "ERR_RDMA_OPEN"
#define ERR_MEMORY "ERR_RDMA_MEMORY"
#define ERR_REGISTER "ERR_RDMA_REGISTER"
#define ERR_QUEUE_PAIR "ERR_RDMA_QUEUE_PAIR"
#define ERR_CONNECT "ERR_RDMA_CONNECT"
#define ERR_TRANSFER "ERR_RDMA_TRANSFER"
#define ERR_FLUSHED "ERR_RDMA_FLUSHED"
#define ERR_BUSY "ERR_RDMA_BUSY"
#define ERR_CLOSED "ERR_RDMA_CLOSED"

struct fault {
  const char *code; /* NULL: nothing is wrong */
  int error;        /* errno, or 0 */
  int status;       /* of the completion, or 0 */
  char message[240];
};

/* A failure without errno. */
__attribute__((format(printf, 3, 4))) void fault_set(struct fault *fault, const char *code, const char *format, ...);

/* A system call or a verb failed with this errno. */
void fault_errno(struct fault *fault, const char *code, const char *what, int error);

/* The Error object; NULL where JavaScript cannot run any more. */
napi_value fault_error(napi_env env, const struct fault *fault);

void fault_throw(napi_env env, const struct fault *fault);

#endif

/* Moves bytes between sockets and files or memory, on threads of its own: socket → digests → file, socket → memory, digested there, and file → socket.
 *
 * Each environment (the main thread, or a worker) has one pump. Its threads share an epoll: whoever is free takes the next socket that is ready, does one turn for it, and arms it
 * again. So a slow socket holds no thread. A file that is slow does, for the length of one call; the other threads go on.
 *
 * One thread at a time writes to a file. The kernel lets in no more, and whoever waits there spins. Here the job waits, with what it has received: the thread that writes takes it next, and the other one goes
 * on with another socket.
 *
 * A job has descriptors of its own (duplicates), so that the caller may close theirs at any time. It is known by a number that is never used again: an event that comes late finds
 * nothing. While a thread works on a job, only that thread touches it, except for `cancelled`. */
#ifndef FLOW_PUMP_H
#define FLOW_PUMP_H

#include "sums.h"

#include <stdatomic.h>

#define NAPI_VERSION 8
#include <node_api.h>

enum way { WAY_SEND, WAY_RECEIVE };

/* What a job ended with. */
struct outcome {
  size_t count;     /* bytes moved */
  int socket_error; /* errno, or 0 */
  int file_error;   /* errno, or 0 */
};

union chunk;

struct job {
  uint64_t id;
  enum way way;
  int socket, file;
  uint8_t *memory;   /* in place of a file; somebody else keeps it alive */
  uint64_t position; /* in the file */
  size_t length;
  uint64_t begun_at;  /* nanoseconds */
  struct sums sums;   /* of what was moved, and of what is in the chunk */
  union chunk *chunk; /* of a job that writes to a file, from its first turn on */
  size_t chunked;     /* bytes in it: received, not written */
  int target;         /* the caller's number of the file: jobs with the same one write one after another */
  bool writes;        /* it is its turn to write */
  struct job *behind; /* the first that waits for this one, with a full chunk; under the mutex */
  struct outcome outcome;
  void *owner;    /* whoever wants to know of its end */
  napi_ref done;  /* the function to call */
  napi_ref state; /* the Uint8Array of the sums, or NULL */
  napi_ref held;  /* the Uint8Array that is filled, or NULL */
  bool working;   /* a thread is at it */
  atomic_bool cancelled;
  struct job *next;
};

struct pump;

/* NULL where JavaScript cannot run any more, or the kernel gives no epoll. `on_end` is called on the thread of the environment, and not for jobs that
 * end with it. */
struct pump *pump_make(napi_env env, void (*on_end)(napi_env env, struct job *job));

/* Takes the job over, its descriptors too. 0, or an errno, and then nothing was taken over. */
int pump_start(struct pump *pump, struct job *job);

/* The number of the job that was started last. */
uint64_t pump_last_id(const struct pump *pump);

/* It ends soon, with ECANCELED as the error of its socket. What was received and not written is lost, although it is in the sums. False: there is no such job, or it has ended. */
bool pump_cancel(struct pump *pump, uint64_t id);

/* Counts jobs, one more or one less: while there are any, the event loop goes on. */
void pump_running(struct pump *pump, napi_env env, int by);

#endif

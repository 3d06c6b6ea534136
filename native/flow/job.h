/* One transfer, and what one turn of it does. Which thread does it, and when, is the pump's. */
#ifndef FLOW_JOB_H
#define FLOW_JOB_H

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

enum {
  /* What one job may move before others have their turn. */
  TURN_BYTES = 1024 * 1024,
  /* What is received into memory in one go, and what is written to a file in one: up to the next multiple of it in the file, for then the kernel takes few large folios
   * instead of many small ones. It fits into the cache of the processor. */
  CHUNK_BYTES = 256 * 1024,
};

/* Memory for bytes that were received and are not written; a link of a list while nobody uses it. */
union chunk {
  union chunk *next;
  uint8_t bytes[CHUNK_BYTES];
};

struct job {
  uint64_t id;
  enum way way;
  int socket, file;
  uint8_t *memory;   /* in place of a file; somebody else keeps it alive */
  uint64_t position; /* in the file */
  size_t length;
  uint64_t begun_at;  /* nanoseconds */
  uint64_t armed_at;  /* since then it waits for its socket, unless somebody works on it */
  struct sums sums;   /* of what was moved, and of what is in the chunk */
  union chunk *chunk; /* of a job that writes to a file, from its first turn on, or from the beginning if something is written ahead of what comes */
  size_t chunked;     /* bytes in it: received, not written */
  bool near;          /* sends to a peer on this machine */
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

/* How the turn of a job ended. */
enum end {
  JOB_ENDS,   /* it is over */
  JOB_WAITS,  /* its socket has nothing now, or it is the turn of others */
  JOB_WRITES, /* its chunk is full */
  JOB_PARKED, /* it waits for the thread that writes to its file, and is that one's */
};

/* File to socket, without a copy. */
enum end job_send(struct job *job);

/* File to socket, through a buffer of TURN_BYTES: to a peer on this machine. The receiver of pages of a file pays more for them than both copies cost. What the socket has no room
 * for is read again. */
enum end job_copy(struct job *job, uint8_t *buffer);

/* Socket to memory. */
enum end job_fill(struct job *job);

/* Socket to chunk. JOB_ENDS may leave bytes there. */
enum end job_receive(struct job *job);

/* Chunk to file: all that is in it. False when the file fails. */
bool job_write(struct job *job);

#endif

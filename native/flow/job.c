#include "job.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t least(size_t one, size_t other) {
  return one < other ? one : other;
}

enum end job_send(struct job *job) {
  for (size_t budget = TURN_BYTES; budget > 0;) {
    struct outcome *outcome = &job->outcome;
    size_t left = job->length - outcome->count;
    off_t at = (off_t)(job->position + outcome->count);
    if (left == 0 || job->cancelled) return JOB_ENDS;
    ssize_t sent = sendfile(job->socket, job->file, &at, left < budget ? left : budget);
    if (sent > 0) {
      outcome->count += (size_t)sent;
      budget -= (size_t)sent;
    } else if (sent == 0) {
      outcome->file_error = ENODATA;
      return JOB_ENDS;
    } else if (errno == EAGAIN) {
      return JOB_WAITS;
    } else if (errno != EINTR) {
      if (errno == EIO) outcome->file_error = errno;
      else outcome->socket_error = errno;
      return JOB_ENDS;
    }
  }
  return JOB_WAITS;
}

/* Sends what is in the buffer, as far as the socket has room. False when it has no more, or fails. */
static bool push(struct job *job, const uint8_t *buffer, size_t length) {
  for (size_t at = 0; at < length;) {
    ssize_t sent = send(job->socket, buffer + at, length - at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      at += (size_t)sent;
      job->outcome.count += (size_t)sent;
    } else if (errno != EINTR) {
      if (errno != EAGAIN) job->outcome.socket_error = errno;
      return false;
    }
  }
  return true;
}

enum end job_copy(struct job *job, uint8_t *buffer) {
  struct outcome *outcome = &job->outcome;
  for (size_t budget = TURN_BYTES; budget > 0;) {
    size_t left = job->length - outcome->count;
    if (left == 0 || job->cancelled) return JOB_ENDS;
    ssize_t got = pread(job->file, buffer, least(left, budget), (off_t)(job->position + outcome->count));
    if (got > 0) {
      budget -= (size_t)got;
      if (!push(job, buffer, (size_t)got)) return outcome->socket_error == 0 ? JOB_WAITS : JOB_ENDS;
    } else if (got == 0 || errno != EINTR) {
      outcome->file_error = got == 0 ? ENODATA : errno;
      return JOB_ENDS;
    }
  }
  return JOB_WAITS;
}

/* Receives as much of what is wanted as the socket has. False when it never will have more: its end, or an error. */
static bool fill(struct job *job, uint8_t *into, size_t wanted, size_t *filled) {
  size_t before = *filled;
  bool more = true;
  while (*filled < wanted) {
    ssize_t got = recv(job->socket, into + *filled, wanted - *filled, MSG_DONTWAIT);
    if (got > 0) {
      *filled += (size_t)got;
    } else if (got == 0) {
      more = false;
      break;
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      job->outcome.socket_error = errno;
      more = false;
      break;
    }
  }
  sums_add(&job->sums, into + before, *filled - before);
  return more;
}

enum end job_receive(struct job *job) {
  size_t left = job->length - job->outcome.count;
  size_t wanted = least(left, CHUNK_BYTES - (job->position + job->outcome.count) % CHUNK_BYTES);
  if (left == 0 || job->cancelled || !fill(job, job->chunk->bytes, wanted, &job->chunked)) return JOB_ENDS;
  /* More than that were there before anything came. */
  return job->chunked >= wanted ? JOB_WRITES : JOB_WAITS;
}

bool job_write(struct job *job) {
  for (size_t at = 0; at < job->chunked;) {
    ssize_t put = pwrite(job->file, job->chunk->bytes + at, job->chunked - at, (off_t)(job->position + job->outcome.count + at));
    if (put > 0) {
      at += (size_t)put;
    } else if (put == 0 || errno != EINTR) {
      job->outcome.file_error = put == 0 ? EIO : errno;
      return false;
    }
  }
  job->outcome.count += job->chunked;
  job->chunked = 0;
  return true;
}

enum end job_fill(struct job *job) {
  for (size_t budget = TURN_BYTES; budget > 0;) {
    size_t left = job->length - job->outcome.count;
    size_t wanted = least(left, CHUNK_BYTES);
    size_t filled = 0;
    if (left == 0 || job->cancelled) return JOB_ENDS;
    bool more = fill(job, job->memory + job->outcome.count, wanted, &filled);
    job->outcome.count += filled;
    budget -= least(budget, filled);
    if (!more) return JOB_ENDS;
    if (filled < wanted) return JOB_WAITS;
  }
  return JOB_WAITS;
}

#include "pump.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum {
  /* Threads of a pump: as many as there are processors, but two at least, because one may wait for a disk, and not more than this, for then the memory of the machine is what limits. More
   * than processors only wait for each other: one at a time writes to a file. */
  THREADS_MIN = 2,
  THREADS_MAX = 4,
  /* What is received, digested and written in one go: it fits into the cache of the processor. */
  BUFFER_BYTES = 256 * 1024,
  /* What one job may move before others have their turn. */
  TURN_BYTES = 1024 * 1024,
  /* Moved bytes are told of after this time at the latest, once more of them come. */
  TELL_NANOSECONDS = 50 * 1000 * 1000,
};

/* The number of no job: the event that ends the threads. */
static const uint64_t stop_id = 0;

struct pump {
  napi_threadsafe_function told;
  void (*on_end)(napi_env env, struct job *job);
  int epoll;
  int stop; /* an eventfd that is readable when the threads shall end */
  uv_mutex_t mutex;
  struct job *jobs; /* not ended */
  uint64_t last_id;
  unsigned running; /* not yet seen to end by JavaScript; its thread only */
  uv_thread_t threads[THREADS_MAX];
  unsigned thread_count, thread_max, idle;
  bool stopping;
};

/* Under the mutex. */
static struct job *job_of(struct pump *pump, uint64_t id) {
  struct job *job = pump->jobs;
  while (job != NULL && job->id != id) job = job->next;
  return job;
}

/* Under the mutex: nobody finds it any more. */
static void remove_job(struct pump *pump, struct job *job) {
  struct job **link = &pump->jobs;
  while (*link != job) link = &(*link)->next;
  *link = job->next;
  job->next = NULL;
}

/* The registration belongs to what the descriptor stands for, which the caller keeps open: closing ours does not end it. */
static void close_job(struct pump *pump, struct job *job) {
  epoll_ctl(pump->epoll, EPOLL_CTL_DEL, job->socket, NULL);
  close(job->socket);
  if (job->memory == NULL) close(job->file);
}

static void tell(struct pump *pump, struct job *job) {
  close_job(pump, job);
  /* Fails only when the environment has ended, and then its thread has joined this one before. */
  napi_call_threadsafe_function(pump->told, job, napi_tsfn_nonblocking);
}

static bool arm(struct pump *pump, const struct job *job, int operation) {
  uint32_t ready = job->way == WAY_SEND ? EPOLLOUT : EPOLLIN;
  struct epoll_event event = {.events = ready | EPOLLONESHOT, .data.u64 = job->id};
  return epoll_ctl(pump->epoll, operation, job->socket, &event) == 0;
}

/* True: the socket has no room now, or the turn is over. */
static bool send_turn(struct job *job) {
  for (size_t budget = TURN_BYTES; budget > 0;) {
    struct outcome *outcome = &job->outcome;
    size_t left = job->length - outcome->count;
    off_t at = (off_t)(job->position + outcome->count);
    if (left == 0 || job->cancelled) return false;
    ssize_t sent = sendfile(job->socket, job->file, &at, left < budget ? left : budget);
    if (sent > 0) {
      outcome->count += (size_t)sent;
      budget -= (size_t)sent;
    } else if (sent == 0) {
      outcome->file_error = ENODATA;
      return false;
    } else if (errno == EAGAIN) {
      return true;
    } else if (errno != EINTR) {
      if (errno == EIO) outcome->file_error = errno;
      else outcome->socket_error = errno;
      return false;
    }
  }
  return true;
}

/* Fills the buffer as far as the socket allows. False when it never will again: `ended`, or an error. */
static bool fill(struct job *job, uint8_t *buffer, size_t wanted, size_t *filled) {
  while (*filled < wanted) {
    ssize_t got = recv(job->socket, buffer + *filled, wanted - *filled, MSG_DONTWAIT);
    if (got > 0) {
      *filled += (size_t)got;
    } else if (got == 0) {
      return false;
    } else if (errno == EAGAIN) {
      return true;
    } else if (errno != EINTR) {
      job->outcome.socket_error = errno;
      return false;
    }
  }
  return true;
}

static bool put(struct job *job, const uint8_t *buffer, size_t length) {
  for (size_t at = 0; at < length;) {
    ssize_t put_now = pwrite(job->file, buffer + at, length - at, (off_t)(job->position + job->outcome.count + at));
    if (put_now > 0) {
      at += (size_t)put_now;
    } else if (put_now == 0 || errno != EINTR) {
      job->outcome.file_error = put_now == 0 ? EIO : errno;
      return false;
    }
  }
  return true;
}

/* True: nothing to read now, or the turn is over. */
static bool receive_turn(struct job *job, uint8_t *buffer) {
  for (size_t budget = TURN_BYTES; budget > 0;) {
    uint8_t *into = job->memory == NULL ? buffer : job->memory + job->outcome.count;
    size_t left = job->length - job->outcome.count;
    size_t wanted = left < BUFFER_BYTES ? left : BUFFER_BYTES;
    size_t filled = 0;
    if (left == 0 || job->cancelled) return false;
    bool more = fill(job, into, wanted, &filled);
    if (filled > 0) {
      sums_add(&job->sums, into, filled);
      if (job->memory == NULL && !put(job, into, filled)) return false;
      job->outcome.count += filled;
      budget -= filled < budget ? filled : budget;
    }
    if (!more) return false;
    if (filled < wanted) return true;
  }
  return true;
}

static void serve(struct pump *pump, struct job *job, uint8_t *buffer) {
  bool goes_on = job->way == WAY_SEND ? send_turn(job) : receive_turn(job, buffer);
  if (goes_on && job->outcome.count > 0) {
    goes_on = job->outcome.count < job->length && uv_hrtime() - job->begun_at < TELL_NANOSECONDS;
  }
  uv_mutex_lock(&pump->mutex);
  job->working = false;
  if (job->cancelled) {
    job->outcome.socket_error = ECANCELED;
    goes_on = false;
  }
  /* From the moment it is armed another thread may have it. */
  if (goes_on && !arm(pump, job, EPOLL_CTL_MOD)) {
    job->outcome.socket_error = errno;
    goes_on = false;
  }
  if (!goes_on) remove_job(pump, job);
  uv_mutex_unlock(&pump->mutex);
  if (!goes_on) tell(pump, job);
}

static void block_signals(void) {
  sigset_t all;
  sigfillset(&all);
  /* On Linux it is the mask of this thread. */
  sigprocmask(SIG_SETMASK, &all, NULL);
}

static void thread_main(void *data) {
  struct pump *pump = data;
  block_signals();
  uint8_t *buffer = malloc(BUFFER_BYTES);
  if (buffer == NULL) abort();
  for (;;) {
    struct epoll_event event;
    uv_mutex_lock(&pump->mutex);
    pump->idle++;
    uv_mutex_unlock(&pump->mutex);
    int count = epoll_wait(pump->epoll, &event, 1, -1);
    uv_mutex_lock(&pump->mutex);
    pump->idle--;
    bool stopping = pump->stopping;
    struct job *job = count == 1 && event.data.u64 != stop_id ? job_of(pump, event.data.u64) : NULL;
    if (job != NULL) job->working = true;
    uv_mutex_unlock(&pump->mutex);
    if (stopping) break;
    if (job != NULL) serve(pump, job, buffer);
  }
  free(buffer);
}

/* With the environment's last breath: no thread outlives it. Jobs that are left are told of by nobody. */
static void on_cleanup(void *data) {
  struct pump *pump = data;
  uint64_t one = 1;
  uv_mutex_lock(&pump->mutex);
  pump->stopping = true;
  for (struct job *job = pump->jobs; job != NULL; job = job->next) job->cancelled = true;
  uv_mutex_unlock(&pump->mutex);
  while (write(pump->stop, &one, sizeof one) < 0 && errno == EINTR) continue;
  for (unsigned at = 0; at < pump->thread_count; at++) uv_thread_join(&pump->threads[at]);
  while (pump->jobs != NULL) {
    struct job *job = pump->jobs;
    remove_job(pump, job);
    close_job(pump, job);
    free(job);
  }
  close(pump->epoll);
  close(pump->stop);
  pump->thread_count = 0;
  napi_release_threadsafe_function(pump->told, napi_tsfn_abort);
}

static void on_told(napi_env env, napi_value function, void *context, void *data) {
  (void)function;
  if (env == NULL) {
    /* The environment has ended, and with it its references and the pump: Node.js finalizes before it empties the queue. */
    free(data);
    return;
  }
  struct pump *pump = context;
  pump->on_end(env, data);
}

static void on_finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  struct pump *pump = data;
  uv_mutex_destroy(&pump->mutex);
  free(pump);
}

struct pump *pump_make(napi_env env, void (*on_end)(napi_env env, struct job *job)) {
  struct pump *pump = calloc(1, sizeof *pump);
  if (pump == NULL) return NULL;
  pump->on_end = on_end;
  unsigned processors = uv_available_parallelism();
  pump->thread_max = processors < THREADS_MIN ? THREADS_MIN : processors > THREADS_MAX ? THREADS_MAX : processors;
  pump->epoll = epoll_create1(EPOLL_CLOEXEC);
  pump->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = stop_id};
  napi_value name = NULL;
  bool ok = pump->epoll >= 0 && pump->stop >= 0 && epoll_ctl(pump->epoll, EPOLL_CTL_ADD, pump->stop, &event) == 0 &&
            uv_mutex_init(&pump->mutex) == 0 && napi_create_string_utf8(env, "flow", NAPI_AUTO_LENGTH, &name) == napi_ok &&
            napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, pump, on_finalize, pump, on_told, &pump->told) == napi_ok;
  if (!ok) {
    if (pump->epoll >= 0) close(pump->epoll);
    if (pump->stop >= 0) close(pump->stop);
    free(pump);
    return NULL;
  }
  napi_unref_threadsafe_function(env, pump->told);
  /* Added after that of the function, hence called before it. */
  napi_add_env_cleanup_hook(env, on_cleanup, pump);
  return pump;
}

/* Under the mutex. One more thread when all are busy; without any the job cannot be done. */
static int have_thread(struct pump *pump) {
  if (pump->idle > 0 || pump->thread_count == pump->thread_max) return 0;
  int error = uv_thread_create(&pump->threads[pump->thread_count], thread_main, pump);
  if (error == 0) pump->thread_count++;
  return pump->thread_count > 0 ? 0 : -error;
}

int pump_start(struct pump *pump, struct job *job) {
  int error = 0;
  uv_mutex_lock(&pump->mutex);
  if (pump->stopping) error = ECANCELED;
  if (error == 0) error = have_thread(pump);
  if (error == 0) {
    job->id = ++pump->last_id;
    job->begun_at = uv_hrtime();
    job->next = pump->jobs;
    pump->jobs = job;
    if (!arm(pump, job, EPOLL_CTL_ADD)) {
      error = errno;
      remove_job(pump, job);
    }
  }
  uv_mutex_unlock(&pump->mutex);
  return error;
}

/* Only the thread of the environment changes it. */
uint64_t pump_last_id(const struct pump *pump) {
  return pump->last_id;
}

bool pump_cancel(struct pump *pump, uint64_t id) {
  uv_mutex_lock(&pump->mutex);
  struct job *job = job_of(pump, id);
  if (job == NULL) {
    uv_mutex_unlock(&pump->mutex);
    return false;
  }
  job->cancelled = true;
  bool waiting = !job->working;
  if (waiting) {
    job->outcome.socket_error = ECANCELED;
    remove_job(pump, job);
  }
  uv_mutex_unlock(&pump->mutex);
  if (waiting) tell(pump, job);
  return true;
}

void pump_running(struct pump *pump, napi_env env, int by) {
  if (by > 0 && pump->running == 0) napi_ref_threadsafe_function(env, pump->told);
  pump->running += (unsigned)by;
  if (by < 0 && pump->running == 0) napi_unref_threadsafe_function(env, pump->told);
}

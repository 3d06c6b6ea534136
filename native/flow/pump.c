#include "pump.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <uv.h>

enum {
  /* Threads of a pump: as many as there are processors, but two at least, because one may wait for a disk, and not more than this, for then the memory of the machine is what
   * limits. More than processors only wait for each other: one at a time writes to a file. */
  THREADS_MIN = 2,
  THREADS_MAX = 4,
  /* Chunks that nobody uses are kept for the next ones, as many as one download has pieces on their way. */
  SPARE_CHUNKS_MAX = 8,
  /* Moved bytes are told of after this time at the latest, once more of them come. */
  TELL_NANOSECONDS = 50 * 1000 * 1000,
};

/* A thread. */
struct worker {
  struct pump *pump;
  uint8_t *buffer; /* TURN_BYTES, once it has sent to a peer on this machine */
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
  union chunk *spare;
  unsigned spare_count;
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

static bool take_chunk(struct pump *pump, struct job *job) {
  uv_mutex_lock(&pump->mutex);
  job->chunk = pump->spare;
  if (job->chunk != NULL) {
    pump->spare = job->chunk->next;
    pump->spare_count--;
  }
  uv_mutex_unlock(&pump->mutex);
  if (job->chunk == NULL) job->chunk = malloc(sizeof *job->chunk);
  if (job->chunk == NULL) job->outcome.file_error = ENOMEM;
  return job->chunk != NULL;
}

static void give_chunk(struct pump *pump, struct job *job) {
  if (job->chunk == NULL) return;
  uv_mutex_lock(&pump->mutex);
  if (pump->spare_count < SPARE_CHUNKS_MAX) {
    job->chunk->next = pump->spare;
    pump->spare = job->chunk;
    pump->spare_count++;
    job->chunk = NULL;
  }
  uv_mutex_unlock(&pump->mutex);
  free(job->chunk);
  job->chunk = NULL;
}

/* The registration belongs to what the descriptor stands for, which the caller keeps open: closing ours does not end it. */
static void close_job(struct pump *pump, struct job *job) {
  epoll_ctl(pump->epoll, EPOLL_CTL_DEL, job->socket, NULL);
  close(job->socket);
  if (job->memory == NULL) close(job->file);
}

static void tell(struct pump *pump, struct job *job) {
  give_chunk(pump, job);
  close_job(pump, job);
  /* Fails only when the environment has ended, and then its thread has joined this one before. */
  napi_call_threadsafe_function(pump->told, job, napi_tsfn_nonblocking);
}

/* Under the mutex. */
static bool arm(struct pump *pump, struct job *job, int operation) {
  uint32_t ready = job->way == WAY_SEND ? EPOLLOUT : EPOLLIN;
  job->armed_at = uv_hrtime();
  struct epoll_event event = {.events = ready | EPOLLONESHOT, .data.u64 = job->id};
  return epoll_ctl(pump->epoll, operation, job->socket, &event) == 0;
}

/* JOB_WRITES: it may write now. JOB_PARKED: it waits behind the one that does, and is no longer this thread's. JOB_ENDS: it would have to wait, and is not wanted any more. */
static enum end begin_write(struct pump *pump, struct job *job) {
  enum end how = JOB_WRITES;
  uv_mutex_lock(&pump->mutex);
  struct job *writer = pump->jobs;
  while (writer != NULL && !(writer->writes && writer->target == job->target)) writer = writer->next;
  if (writer == NULL) {
    job->writes = true;
  } else if (job->cancelled) {
    how = JOB_ENDS;
  } else {
    while (writer->behind != NULL) writer = writer->behind;
    writer->behind = job;
    how = JOB_PARKED;
  }
  uv_mutex_unlock(&pump->mutex);
  return how;
}

/* Gives the job that may write next, and is this thread's from now on; NULL when none waits. */
static struct job *end_write(struct pump *pump, struct job *job) {
  uv_mutex_lock(&pump->mutex);
  struct job *next = job->behind;
  job->writes = false;
  job->behind = NULL;
  if (next != NULL) next->writes = true;
  uv_mutex_unlock(&pump->mutex);
  return next;
}

/* Under the mutex. Whether the job waited for its turn to write: it does no longer, and is the caller's. */
static bool leave_line(struct pump *pump, struct job *job) {
  struct job *before = pump->jobs;
  while (before != NULL && before->behind != job) before = before->next;
  if (before == NULL) return false;
  before->behind = job->behind;
  job->behind = NULL;
  return true;
}

static enum end receive_turn(struct pump *pump, struct job *job, struct job **next) {
  if (job->chunk == NULL && !take_chunk(pump, job)) return JOB_ENDS;
  for (unsigned written = 0; written < TURN_BYTES / CHUNK_BYTES; written++) {
    if (!job->writes) {
      enum end how = job_receive(job);
      if (how == JOB_WRITES) how = begin_write(pump, job);
      if (how != JOB_WRITES) return how;
    }
    bool put = !job->cancelled && job_write(job);
    *next = end_write(pump, job);
    if (!put) return JOB_ENDS;
    if (*next != NULL) break;
  }
  return JOB_WAITS;
}

static enum end take_turn(struct worker *worker, struct job *job, struct job **next) {
  if (job->way == WAY_RECEIVE) return job->memory == NULL ? receive_turn(worker->pump, job, next) : job_fill(job);
  if (job->near && worker->buffer == NULL) worker->buffer = malloc(TURN_BYTES);
  return job->near && worker->buffer != NULL ? job_copy(job, worker->buffer) : job_send(job);
}

/* Gives the job that this thread serves next, or NULL. */
static struct job *serve(struct worker *worker, struct job *job) {
  struct pump *pump = worker->pump;
  struct job *next = NULL;
  enum end how = take_turn(worker, job, &next);
  if (how == JOB_PARKED) return NULL;
  bool goes_on = how == JOB_WAITS;
  size_t moved = job->outcome.count + job->chunked;
  if (goes_on && moved > 0) goes_on = moved < job->length && uv_hrtime() - job->begun_at < TELL_NANOSECONDS;
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
  if (goes_on) return next;
  /* Nobody else finds it any more. */
  if (!job->cancelled && job->outcome.file_error == 0) job_write(job);
  tell(pump, job);
  return next;
}

static void block_signals(void) {
  sigset_t all;
  sigfillset(&all);
  /* On Linux it is the mask of this thread. */
  sigprocmask(SIG_SETMASK, &all, NULL);
}

static void thread_main(void *data) {
  struct pump *pump = data;
  struct worker worker = {.pump = pump};
  block_signals();
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
    while (job != NULL) job = serve(&worker, job);
  }
  free(worker.buffer);
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
    free(job->chunk);
    free(job);
  }
  while (pump->spare != NULL) {
    union chunk *chunk = pump->spare;
    pump->spare = chunk->next;
    free(chunk);
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

int pump_start(struct pump *pump, struct job *job, const void *ahead, size_t length) {
  int error = 0;
  if (length > 0) {
    if (!take_chunk(pump, job)) return ENOMEM;
    memcpy(job->chunk->bytes, ahead, length);
    job->chunked = length;
  }
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
  if (error != 0) give_chunk(pump, job);
  return error;
}

/* Only the thread of the environment changes it. */
uint64_t pump_last_id(const struct pump *pump) {
  return pump->last_id;
}

uint64_t pump_silence(struct pump *pump, uint64_t id) {
  uint64_t silence = 0;
  uv_mutex_lock(&pump->mutex);
  struct job *job = job_of(pump, id);
  if (job != NULL && !job->working) {
    struct pollfd ready = {.fd = job->socket, .events = job->way == WAY_SEND ? POLLOUT : POLLIN};
    if (poll(&ready, 1, 0) == 0) silence = uv_hrtime() - job->armed_at;
  }
  uv_mutex_unlock(&pump->mutex);
  return silence;
}

bool pump_cancel(struct pump *pump, uint64_t id) {
  uv_mutex_lock(&pump->mutex);
  struct job *job = job_of(pump, id);
  if (job == NULL) {
    uv_mutex_unlock(&pump->mutex);
    return false;
  }
  job->cancelled = true;
  bool waiting = !job->working || leave_line(pump, job);
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

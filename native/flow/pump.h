/* Moves bytes between sockets and files or memory, on threads of its own: socket → digests → file, socket → memory, digested there, and file → socket.
 *
 * Each environment (the main thread, or a worker) has one pump. Its threads share an epoll: whoever is free takes the next socket that is ready, does one turn for it, and arms it
 * again. So a slow socket holds no thread. A file that is slow does, for the length of one call; the other threads go on.
 *
 * One thread at a time writes whole chunks to a file. The kernel lets in no more, and whoever waits there spins. Here the job waits, with what it has received: the thread that writes
 * takes it next, and the other one goes on with another socket.
 *
 * A job has descriptors of its own (duplicates), so that the caller may close theirs at any time. It is known by a number that is never used again: an event that comes late finds
 * nothing. While a thread works on a job only that thread touches it, except for `cancelled` and, under the mutex, `behind`. */
#ifndef FLOW_PUMP_H
#define FLOW_PUMP_H

#include "job.h"

struct pump;

/* NULL where JavaScript cannot run any more, or the kernel gives no epoll. `on_end` is called on the thread of the environment, and not for jobs that
 * end with it. */
struct pump *pump_make(napi_env env, void (*on_end)(napi_env env, struct job *job));

/* Takes the job over, its descriptors too. 0, or an errno, and then nothing was taken over. `ahead` are `length` bytes, CHUNK_BYTES at most, that are written ahead of what comes,
 * as a part of it. They are copied, and are in the sums already. */
int pump_start(struct pump *pump, struct job *job, const void *ahead, size_t length);

/* The number of the job that was started last. */
uint64_t pump_last_id(const struct pump *pump);

/* Nanoseconds for which its socket has had nothing for the job. 0 while a thread works on it, or it waits for its turn to write, or for a thread; and when it has ended. */
uint64_t pump_silence(struct pump *pump, uint64_t id);

/* It ends soon, unless the file is slow with what is being written, with ECANCELED as the error of its socket. What was received and not written is lost, although it is in the sums. False: there is no such job, or it has ended. */
bool pump_cancel(struct pump *pump, uint64_t id);

/* Counts jobs, one more or one less: while there are any, the event loop goes on. */
void pump_running(struct pump *pump, napi_env env, int by);

#endif

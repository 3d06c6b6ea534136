/* softverbs: a stand-in for libibverbs.so.1, for tests on machines without any RDMA device.
 *
 * One device "soft0" with one Ethernet port, RC queue pairs and RDMA READ, carried over TCP by threads of this library: as with a real device, the JavaScript thread of the
 * side that is read from takes no part. It keeps to what the real one promises: the states of a queue pair with their required attributes; keys, bounds, permissions and
 * protection domains; completions in order; flushing after an error; one event for one arming; events that have to be acknowledged before their object is destroyed.
 * It does not pin memory, and has nothing but READ.
 *
 * A GID is that of the IPv4 address, as with RoCE, and the number of a queue pair holds the TCP port of its context: {number, lid, gid} is all that the other side needs.
 *
 *   SOFTVERBS_ADDR      IPv4 address of the device, 127.0.0.1 if it is not set
 *   SOFTVERBS_MEMLOCK   bytes that may be registered, else ENOMEM
 *   SOFTVERBS_CONTROL   folder in which the library listens on the unix socket <process id>.sock for orders: control.c */
#ifndef SOFTVERBS_PROVIDER_H
#define SOFTVERBS_PROVIDER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "../../src/verbs-abi.h"

#define EXPORT __attribute__((visibility("default")))

enum { QUEUE_PAIRS_MAX = 256, REGIONS_MAX = 65536, SENDS_MAX = 1024, COMPLETIONS_MAX = 32768, GIDS_MAX = 1024 };

/* The largest READ: small enough that tests can go beyond it. */
enum { MESSAGE_BYTES_MAX = 1 << 30 };

/* Things that happened, with a descriptor to poll: of a completion channel or a device. */
struct note {
  int type;
  void *element;
};

struct notes {
  pthread_mutex_t mutex;
  int fd;
  struct note *ring;
  unsigned first;
  unsigned count;
  unsigned size;
};

bool notes_begin(struct notes *notes);
void notes_end(struct notes *notes);
void notes_add(struct notes *notes, int type, void *element);
/* -1 with EAGAIN when there is none and the descriptor does not wait. */
int notes_take(struct notes *notes, struct note *note);
void notes_forget(struct notes *notes, const void *element);

struct context {
  struct verbs_context verbs;
  struct context *next;
  struct notes events;
  int listener;
  uint16_t tcp_port;
  pthread_t acceptor;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct connection *connections;
  struct region *regions[REGIONS_MAX];
  struct queue_pair *queue_pairs[QUEUE_PAIRS_MAX];
  unsigned last_region;
  unsigned last_queue_pair;
};

struct domain {
  struct verbs_pd verbs;
  unsigned children;
};

struct region {
  struct verbs_mr verbs;
  unsigned access;
  unsigned users; /* a system call that reads or writes it now */
};

struct channel {
  struct verbs_comp_channel verbs;
  struct notes notes;
};

struct completions {
  struct verbs_cq verbs;
  pthread_mutex_t mutex;
  pthread_cond_t acknowledged;
  struct verbs_wc *ring;
  unsigned size;
  unsigned first;
  unsigned count;
  bool armed;
  unsigned taken; /* events that were taken, and not acknowledged yet */
};

/* A READ that was posted. */
struct operation {
  struct operation *next;
  uint64_t id;
  struct verbs_sge memory;
  uint64_t address;
  uint32_t key;
};

struct operations {
  struct operation *first;
  struct operation *last;
  unsigned count;
};

struct queue_pair {
  struct verbs_qp verbs;
  struct verbs_qp_attr attr;
  unsigned sends_max;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  pthread_t requester;
  bool running;
  bool stopping;
  bool aborted; /* by ibv_modify_qp */
  int socket;   /* of the requester; -1: none */
  int wake;     /* eventfd: something was posted */
  struct operations posted;
  struct operations sent;
  unsigned taken; /* events that were taken, and not acknowledged yet */
};

/* A connection that another queue pair reads through. */
struct connection {
  struct context *context;
  struct queue_pair *queue_pair; /* NULL until the other side said whom it wants */
  struct connection *next;
  int socket;
  bool closing;
};

/* requester.c */
void *requester_main(void *queue_pair);
int requester_post(struct verbs_qp *qp, struct verbs_send_wr *request, struct verbs_send_wr **refused);

/* responder.c */
void *acceptor_main(void *context);
/* Ends the connections of a queue pair, or all of them; returns when they are gone. */
void responder_end(struct context *context, const struct queue_pair *queue_pair);
/* Cuts every connection of a context, both ways. */
void responder_cut(struct context *context);

/* memory.c: the memory that a key gives access to, not to be deregistered until `leave`. NULL: no such access. */
struct region *memory_enter(struct context *context, const struct verbs_pd *pd, uint32_t key, uint64_t address, uint64_t length, unsigned access);
void memory_leave(struct context *context, struct region *region);
void memory_limit(uint64_t bytes);

/* completions.c */
void complete(struct queue_pair *queue_pair, const struct operation *operation, int status);
int completions_poll(struct verbs_cq *cq, int count, struct verbs_wc *batch);
int completions_arm(struct verbs_cq *cq, int solicited);

/* queue-pair.c: to state ERR by itself. */
void queue_pair_fail(struct queue_pair *queue_pair);

/* device.c */
void contexts_event(int type);
void contexts_cut(void);
void port_set(bool down);
bool port_is_down(void);

/* control.c: what a test ordered. `ordered` also waits where the verb was to be slow; 0: go on. */
int ordered(const char *verb);
void control_begin(void);
/* Waits while answers are held back; false: the connection ends. */
bool control_wait(const struct connection *connection);
void control_changed(void);
enum counted { CONTEXTS, DOMAINS, REGIONS, CHANNELS, COMPLETIONS, QUEUE_PAIRS, COUNTED };
void control_count(enum counted what, int change);

#endif

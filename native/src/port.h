/* An open port of a device, with the queue that its completions go to. Everything here may wait in the kernel. */
#ifndef RDMA_PORT_H
#define RDMA_PORT_H

#include <stdbool.h>

#include "fault.h"
#include "verbs.h"

/* `IBV_SYSFS_NAME_MAX`, with its zero. */
enum { DEVICE_NAME_BYTES_MAX = 64 };

/* Completions that may wait: the sum of `readsMax` of all queue pairs of a port. An entry takes 64 bytes or so. */
enum { COMPLETIONS_MAX = 16384 };

/* READs that may be posted to one queue pair and not be done. Not many of them are worth anything: the device works on 16 at a time. */
enum { READS_POSTED_MAX = 1024 };

/* READs that may really be on their way, each way: what fits into the field of every known device. */
enum { READS_ATOMIC_MAX = 16 };

struct port {
  struct verbs_context *device;
  struct verbs_comp_channel *channel;
  struct verbs_cq *completions;
  uint32_t completions_max;
  uint32_t reads_posted_max;
  uint32_t read_bytes_max;
  uint8_t reads_out_max;
  uint8_t reads_in_max;
  uint8_t number;
  uint8_t gid_index;
  uint16_t lid;
  uint32_t mtu; /* bytes */
  union verbs_gid gid;
};

struct port_choice {
  char device[DEVICE_NAME_BYTES_MAX];
  uint8_t port;
  uint8_t gid_index;
};

/* False with a fault, and nothing left open. */
bool port_open(struct port *port, const struct port_choice *choice, struct fault *fault);

/* Everything else of it must be freed before. */
void port_close(struct port *port);

/* Bytes of an `ibv_mtu`, and back; 0 for none. */
uint32_t mtu_bytes(int mtu);
int mtu_number(uint32_t bytes);

/* devices() */
napi_value devices_list(napi_env env, napi_callback_info info);

#endif

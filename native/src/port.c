#include "port.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/* The largest READ where a port says nothing useful: what every device takes. */
static const uint32_t read_bytes_most = 1u << 30;

uint32_t mtu_bytes(int mtu) {
  return mtu >= 1 && mtu <= 5 ? 128u << mtu : 0;
}

int mtu_number(uint32_t bytes) {
  for (int mtu = 1; mtu <= 5; mtu++) {
    if (mtu_bytes(mtu) == bytes) return mtu;
  }
  return 0;
}

static struct verbs_context *open_device(const char *name, struct fault *fault) {
  int count = 0;
  struct verbs_device **list = verbs.get_device_list(&count);
  struct verbs_context *device = NULL;
  fault_set(fault, ERR_NO_DEVICE, "No RDMA device %s", name);
  for (int at = 0; list != NULL && at < count; at++) {
    if (strcmp(verbs.get_device_name(list[at]), name) != 0) continue;
    device = verbs.open_device(list[at]);
    if (device == NULL) fault_errno(fault, ERR_OPEN, "ibv_open_device", errno);
    break;
  }
  if (list != NULL) verbs.free_device_list(list);
  if (device != NULL) *fault = (struct fault){0};
  return device;
}

static uint32_t least(uint32_t a, uint32_t b) {
  return a < b ? a : b;
}

/* What a driver says, as a number from 0 on. */
static uint32_t natural(int number) {
  return number > 0 ? (uint32_t)number : 0;
}

static bool query(struct port *port, struct fault *fault) {
  struct verbs_device_attr device = {0};
  struct verbs_port_attr attr = {0};
  int error = verbs.query_device(port->device, &device);
  if (error != 0) {
    fault_errno(fault, ERR_OPEN, "ibv_query_device", error);
    return false;
  }
  error = port->number > device.phys_port_cnt ? EINVAL : verbs.query_port(port->device, port->number, &attr);
  if (error != 0) {
    fault_errno(fault, ERR_OPEN, "ibv_query_port", error);
    return false;
  }
  if (verbs.query_gid(port->device, port->number, port->gid_index, &port->gid) != 0) {
    fault_errno(fault, ERR_OPEN, "ibv_query_gid", errno);
    return false;
  }
  /* Real devices answer so for an entry of the table that nothing is in. */
  static const union verbs_gid none;
  if (memcmp(port->gid.raw, none.raw, sizeof none.raw) == 0) {
    fault_set(fault, ERR_OPEN, "The port has no address with index %u", port->gid_index);
    return false;
  }
  port->lid = attr.lid;
  port->mtu = mtu_bytes(attr.active_mtu);
  port->read_bytes_max = attr.max_msg_sz == 0 ? read_bytes_most : attr.max_msg_sz;
  port->reads_out_max = (uint8_t)least(natural(device.max_qp_init_rd_atom), READS_ATOMIC_MAX);
  port->reads_in_max = (uint8_t)least(natural(device.max_qp_rd_atom), READS_ATOMIC_MAX);
  port->reads_posted_max = least(natural(device.max_qp_wr), READS_POSTED_MAX);
  port->completions_max = least(natural(device.max_cqe), COMPLETIONS_MAX);
  return true;
}

/* Not `fcntl`, whose symbol is of 2018 (GLIBC_2.28) where large files are on. */
static bool never_wait(int descriptor, struct fault *fault) {
  int on = 1;
  if (ioctl(descriptor, FIONBIO, &on) == 0) return true;
  fault_errno(fault, ERR_OPEN, "ioctl", errno);
  return false;
}

static bool make_completions(struct port *port, struct fault *fault) {
  port->channel = verbs.create_comp_channel(port->device);
  if (port->channel == NULL) {
    fault_errno(fault, ERR_OPEN, "ibv_create_comp_channel", errno);
    return false;
  }
  if (!never_wait(port->channel->fd, fault) || !never_wait(port->device->async_fd, fault)) return false;
  port->completions = verbs.create_cq(port->device, (int)port->completions_max, NULL, port->channel, 0);
  if (port->completions == NULL) {
    fault_errno(fault, ERR_OPEN, "ibv_create_cq", errno);
    return false;
  }
  int error = port->device->req_notify_cq(port->completions, 0);
  if (error != 0) fault_errno(fault, ERR_OPEN, "ibv_req_notify_cq", error);
  return error == 0;
}

bool port_open(struct port *port, const struct port_choice *choice, struct fault *fault) {
  *port = (struct port){.number = choice->port, .gid_index = choice->gid_index};
  port->device = open_device(choice->device, fault);
  if (port->device == NULL) return false;
  if (query(port, fault) && make_completions(port, fault)) return true;
  port_close(port);
  return false;
}

void port_close(struct port *port) {
  if (port->completions != NULL) verbs.destroy_cq(port->completions);
  if (port->channel != NULL) verbs.destroy_comp_channel(port->channel);
  if (port->device != NULL) verbs.close_device(port->device);
  port->completions = NULL;
  port->channel = NULL;
  port->device = NULL;
}

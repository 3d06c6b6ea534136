/* The list of devices, their ports and addresses. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "job.h"
#include "port.h"
#include "value.h"

/* More devices, ports of a device or addresses of a device are left out. A host with more is not known. */
enum { DEVICES_MAX = 64, PORTS_MAX = 16, GIDS_MAX = 1024 };

struct device {
  char name[DEVICE_NAME_BYTES_MAX];
  struct verbs_port_attr ports[PORTS_MAX];
  bool port_known[PORTS_MAX];
  size_t gids_count;
  struct verbs_gid_entry *gids;
};

struct devices_job {
  struct job job;
  size_t count;
  struct device *devices;
};

static void look_into(struct verbs_context *opened, struct device *device) {
  struct verbs_device_attr attr = {0};
  if (verbs.query_device(opened, &attr) != 0) return;
  for (size_t at = 0; at < PORTS_MAX && at < attr.phys_port_cnt; at++) {
    device->port_known[at] = verbs.query_port(opened, (uint8_t)(at + 1), &device->ports[at]) == 0;
  }
  device->gids = memory_for(GIDS_MAX * sizeof *device->gids);
  ssize_t count = verbs.query_gid_table(opened, device->gids, GIDS_MAX, 0, sizeof *device->gids);
  if (count > 0) device->gids_count = (size_t)count;
}

static void work_list(struct job *job) {
  struct devices_job *listing = (struct devices_job *)job;
  int count = 0;
  struct verbs_device **list = verbs.get_device_list(&count);
  if (list == NULL) {
    /* ENOSYS: a kernel without RDMA, which has no device. */
    if (errno != ENOSYS) fault_errno(&job->fault, ERR_UNAVAILABLE, "ibv_get_device_list", errno);
    return;
  }
  size_t most = count > DEVICES_MAX ? DEVICES_MAX : (size_t)count;
  listing->devices = memory_for((most + 1) * sizeof *listing->devices);
  for (; listing->count < most; listing->count++) {
    struct device *device = &listing->devices[listing->count];
    strncpy(device->name, verbs.get_device_name(list[listing->count]), sizeof device->name - 1);
    struct verbs_context *opened = verbs.open_device(list[listing->count]);
    if (opened == NULL) continue; /* It has no ports then. */
    look_into(opened, device);
    verbs.close_device(opened);
  }
  verbs.free_device_list(list);
}

static napi_value gids_value(napi_env env, const struct device *device, size_t port) {
  napi_value gids = value_array(env);
  uint32_t length = 0;
  for (size_t at = 0; at < device->gids_count; at++) {
    const struct verbs_gid_entry *entry = &device->gids[at];
    if (entry->port_num != port) continue;
    napi_value gid = value_object(env);
    value_set(env, gid, "index", value_number(env, entry->gid_index));
    value_set(env, gid, "gid", value_bytes(env, entry->gid.raw, sizeof entry->gid.raw));
    value_set(env, gid, "type", value_number(env, entry->gid_type));
    value_push(env, gids, length++, gid);
  }
  return gids;
}

static napi_value ports_value(napi_env env, const struct device *device) {
  napi_value ports = value_array(env);
  uint32_t length = 0;
  for (size_t at = 0; at < PORTS_MAX; at++) {
    const struct verbs_port_attr *attr = &device->ports[at];
    if (!device->port_known[at]) continue;
    napi_value port = value_object(env);
    value_set(env, port, "port", value_number(env, (double)(at + 1)));
    value_set(env, port, "state", value_number(env, attr->state));
    value_set(env, port, "activeMtu", value_number(env, mtu_bytes(attr->active_mtu)));
    value_set(env, port, "lid", value_number(env, attr->lid));
    value_set(env, port, "linkLayer", value_number(env, attr->link_layer == 0 ? VERBS_LINK_INFINIBAND : attr->link_layer));
    value_set(env, port, "gids", gids_value(env, device, at + 1));
    value_push(env, ports, length++, port);
  }
  return ports;
}

static void done_list(struct job *job, napi_env env) {
  struct devices_job *listing = (struct devices_job *)job;
  if (job->fault.code != NULL) {
    promise_reject(env, job->deferred, &job->fault);
  } else if (env != NULL) {
    napi_value devices = value_array(env);
    for (size_t at = 0; at < listing->count; at++) {
      napi_value device = value_object(env);
      value_set(env, device, "name", value_text(env, listing->devices[at].name));
      value_set(env, device, "ports", ports_value(env, &listing->devices[at]));
      value_push(env, devices, (uint32_t)at, device);
    }
    promise_resolve(env, job->deferred, devices);
  }
  for (size_t at = 0; at < listing->count; at++) free(listing->devices[at].gids);
  free(listing->devices);
}

napi_value devices_list(napi_env env, napi_callback_info info) {
  struct arguments arguments;
  if (!arguments_read(env, info, &arguments)) return NULL;
  if (!verbs_loaded()) return promise_refused(env, ERR_UNAVAILABLE, "No verbs library is loaded yet");
  struct devices_job *listing = job_new(sizeof *listing, arguments.environment, NULL);
  listing->job.work = work_list;
  listing->job.done = done_list;
  return job_promise(env, &listing->job);
}

/* The verbs library, opened at run time: the addon loads everywhere, also where there is none. */
#ifndef RDMA_VERBS_H
#define RDMA_VERBS_H

#include <stdbool.h>
#include <sys/types.h>

#include "fault.h"
#include "verbs-abi.h"

/* Result, name without `ibv_`, parameters. */
#define VERBS_FUNCTIONS(FUNCTION) \
  FUNCTION(struct verbs_device **, get_device_list, (int *count)) \
  FUNCTION(void, free_device_list, (struct verbs_device **list)) \
  FUNCTION(const char *, get_device_name, (struct verbs_device *device)) \
  FUNCTION(struct verbs_context *, open_device, (struct verbs_device *device)) \
  FUNCTION(int, close_device, (struct verbs_context *context)) \
  FUNCTION(int, query_device, (struct verbs_context *context, struct verbs_device_attr *attr)) \
  FUNCTION(int, query_port, (struct verbs_context *context, uint8_t port, struct verbs_port_attr *attr)) \
  FUNCTION(int, query_gid, (struct verbs_context *context, uint8_t port, int index, union verbs_gid *gid)) \
  FUNCTION(int, get_async_event, (struct verbs_context *context, struct verbs_async_event *event)) \
  FUNCTION(void, ack_async_event, (struct verbs_async_event *event)) \
  FUNCTION(struct verbs_comp_channel *, create_comp_channel, (struct verbs_context *context)) \
  FUNCTION(int, destroy_comp_channel, (struct verbs_comp_channel *channel)) \
  FUNCTION(struct verbs_cq *, create_cq, \
           (struct verbs_context *context, int entries, void *own, struct verbs_comp_channel *channel, int vector)) \
  FUNCTION(int, destroy_cq, (struct verbs_cq *cq)) \
  FUNCTION(int, get_cq_event, (struct verbs_comp_channel *channel, struct verbs_cq **cq, void **own)) \
  FUNCTION(void, ack_cq_events, (struct verbs_cq *cq, unsigned count)) \
  FUNCTION(struct verbs_pd *, alloc_pd, (struct verbs_context *context)) \
  FUNCTION(int, dealloc_pd, (struct verbs_pd *pd)) \
  FUNCTION(struct verbs_mr *, reg_mr, (struct verbs_pd *pd, void *bytes, size_t length, int access)) \
  FUNCTION(int, dereg_mr, (struct verbs_mr *mr)) \
  FUNCTION(struct verbs_qp *, create_qp, (struct verbs_pd *pd, struct verbs_qp_init_attr *attr)) \
  FUNCTION(int, modify_qp, (struct verbs_qp *qp, struct verbs_qp_attr *attr, int mask)) \
  FUNCTION(int, destroy_qp, (struct verbs_qp *qp)) \
  FUNCTION(const char *, wc_status_str, (int status)) \
  FUNCTION(int, fork_init, (void))

/* The functions of the library; to be called only after `verbs_loaded()` said yes once. */
struct verbs {
#define DECLARE(result, name, parameters) result(*name) parameters;
  VERBS_FUNCTIONS(DECLARE)
#undef DECLARE
  /* All addresses of all ports with their types in one call; rdma-core 32 (2020) and newer. */
  ssize_t (*query_gid_table)(struct verbs_context *context, struct verbs_gid_entry *entries, size_t count, uint32_t flags, size_t entry_size);
};

extern struct verbs verbs;

/* Opens the library once for the process. The same path again does nothing. */
bool verbs_load(const char *path, struct fault *fault);

bool verbs_loaded(void);

#endif

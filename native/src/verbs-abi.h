/* The part of the libibverbs ABI that the addon uses. It is written out here so that building needs no rdma-core headers and loading needs no libibverbs.
 *
 * The layouts are those of LP64 Linux and have been frozen since IBVERBS_1.1. `native/test/abi-check.c` compares every one of them with <infiniband/verbs.h>. */
#ifndef RDMA_VERBS_ABI_H
#define RDMA_VERBS_ABI_H

#include <stddef.h>
#include <stdint.h>

struct verbs_device; /* opaque */
struct verbs_qp;
struct verbs_cq;
struct verbs_wc;
struct verbs_send_wr;

union verbs_gid {
  uint8_t raw[16];
  uint64_t align;
};

/* `ibv_post_send`, `ibv_poll_cq` and `ibv_req_notify_cq` are inline in verbs.h and call these slots. */
struct verbs_context {
  struct verbs_device *device;
  void *ops_before[11];
  int (*poll_cq)(struct verbs_cq *, int, struct verbs_wc *);
  int (*req_notify_cq)(struct verbs_cq *, int);
  void *ops_between[12];
  int (*post_send)(struct verbs_qp *, struct verbs_send_wr *, struct verbs_send_wr **);
  void *ops_after[6];
  int cmd_fd;
  int async_fd;
  int num_comp_vectors;
  /* A mutex and a pointer follow, which nobody but the library touches. */
};

struct verbs_pd {
  struct verbs_context *context;
  uint32_t handle;
};

struct verbs_mr {
  struct verbs_context *context;
  struct verbs_pd *pd;
  void *addr;
  size_t length;
  uint32_t handle;
  uint32_t lkey;
  uint32_t rkey;
};

struct verbs_comp_channel {
  struct verbs_context *context;
  int fd;
  int refcnt;
};

struct verbs_cq {
  struct verbs_context *context;
  struct verbs_comp_channel *channel;
  void *cq_context;
  uint32_t handle;
  int cqe;
  /* A mutex and counters follow. */
};

struct verbs_qp {
  struct verbs_context *context;
  void *qp_context;
  struct verbs_pd *pd;
  struct verbs_cq *send_cq;
  struct verbs_cq *recv_cq;
  void *srq;
  uint32_t handle;
  uint32_t qp_num;
  int state;
  int qp_type;
  /* A mutex and counters follow. */
};

struct verbs_qp_cap {
  uint32_t max_send_wr;
  uint32_t max_recv_wr;
  uint32_t max_send_sge;
  uint32_t max_recv_sge;
  uint32_t max_inline_data;
};

struct verbs_qp_init_attr {
  void *qp_context;
  struct verbs_cq *send_cq;
  struct verbs_cq *recv_cq;
  void *srq;
  struct verbs_qp_cap cap;
  int qp_type;
  int sq_sig_all;
};

struct verbs_global_route {
  union verbs_gid dgid;
  uint32_t flow_label;
  uint8_t sgid_index;
  uint8_t hop_limit;
  uint8_t traffic_class;
};

struct verbs_ah_attr {
  struct verbs_global_route grh;
  uint16_t dlid;
  uint8_t sl;
  uint8_t src_path_bits;
  uint8_t static_rate;
  uint8_t is_global;
  uint8_t port_num;
};

struct verbs_qp_attr {
  int qp_state;
  int cur_qp_state;
  int path_mtu;
  int path_mig_state;
  uint32_t qkey;
  uint32_t rq_psn;
  uint32_t sq_psn;
  uint32_t dest_qp_num;
  unsigned qp_access_flags;
  struct verbs_qp_cap cap;
  struct verbs_ah_attr ah_attr;
  struct verbs_ah_attr alt_ah_attr;
  uint16_t pkey_index;
  uint16_t alt_pkey_index;
  uint8_t en_sqd_async_notify;
  uint8_t sq_draining;
  uint8_t max_rd_atomic;
  uint8_t max_dest_rd_atomic;
  uint8_t min_rnr_timer;
  uint8_t port_num;
  uint8_t timeout;
  uint8_t retry_cnt;
  uint8_t rnr_retry;
  uint8_t alt_port_num;
  uint8_t alt_timeout;
  uint32_t rate_limit;
};

struct verbs_sge {
  uint64_t addr;
  uint32_t length;
  uint32_t lkey;
};

struct verbs_send_wr {
  uint64_t wr_id;
  struct verbs_send_wr *next;
  struct verbs_sge *sg_list;
  int num_sge;
  int opcode;
  unsigned send_flags;
  uint32_t imm_data;
  uint64_t remote_addr;
  uint32_t rkey;
  uint8_t other_operations[128 - 52];
};

struct verbs_wc {
  uint64_t wr_id;
  int status;
  int opcode;
  uint32_t vendor_err;
  uint32_t byte_len;
  uint32_t imm_data;
  uint32_t qp_num;
  uint32_t src_qp;
  unsigned wc_flags;
  uint16_t pkey_index;
  uint16_t slid;
  uint8_t sl;
  uint8_t dlid_path_bits;
};

/* The exported `ibv_query_port` fills a prefix of this: hand in a whole one, zeroed. */
struct verbs_port_attr {
  int state;
  int max_mtu;
  int active_mtu;
  int gid_tbl_len;
  uint32_t port_cap_flags;
  uint32_t max_msg_sz;
  uint32_t bad_pkey_cntr;
  uint32_t qkey_viol_cntr;
  uint16_t pkey_tbl_len;
  uint16_t lid;
  uint16_t sm_lid;
  uint8_t lmc;
  uint8_t max_vl_num;
  uint8_t sm_sl;
  uint8_t subnet_timeout;
  uint8_t init_type_reply;
  uint8_t active_width;
  uint8_t active_speed;
  uint8_t phys_state;
  uint8_t link_layer;
  uint8_t flags;
  uint16_t port_cap_flags2;
};

struct verbs_gid_entry {
  union verbs_gid gid;
  uint32_t gid_index;
  uint32_t port_num;
  uint32_t gid_type;
  uint32_t ndev_ifindex;
};

struct verbs_device_attr {
  char fw_ver[64];
  uint64_t node_guid;
  uint64_t sys_image_guid;
  uint64_t max_mr_size;
  uint64_t page_size_cap;
  uint32_t vendor_id;
  uint32_t vendor_part_id;
  uint32_t hw_ver;
  int max_qp;
  int max_qp_wr;
  unsigned device_cap_flags;
  int max_sge;
  int max_sge_rd;
  int max_cq;
  int max_cqe;
  int max_mr;
  int max_pd;
  int max_qp_rd_atom;
  int max_ee_rd_atom;
  int max_res_rd_atom;
  int max_qp_init_rd_atom;
  uint8_t not_used[226 - 160];
  uint8_t local_ca_ack_delay;
  uint8_t phys_port_cnt;
};

struct verbs_async_event {
  union {
    struct verbs_cq *cq;
    struct verbs_qp *qp;
    int port_num;
  } element;
  int event_type;
};

enum { VERBS_WR_RDMA_READ = 4, VERBS_SEND_SIGNALED = 2, VERBS_WC_RDMA_READ = 2 };
enum { VERBS_ACCESS_LOCAL_WRITE = 1, VERBS_ACCESS_REMOTE_READ = 4 };
enum { VERBS_QPT_RC = 2 };
enum { VERBS_QPS_RESET = 0, VERBS_QPS_INIT = 1, VERBS_QPS_RTR = 2, VERBS_QPS_RTS = 3, VERBS_QPS_ERR = 6 };
enum { VERBS_PORT_DOWN = 1, VERBS_PORT_ACTIVE = 4 };
enum { VERBS_LINK_INFINIBAND = 1, VERBS_LINK_ETHERNET = 2 };
enum { VERBS_GID_ROCE_V1 = 1, VERBS_GID_ROCE_V2 = 2 };

enum {
  VERBS_QP_STATE = 1,
  VERBS_QP_ACCESS_FLAGS = 1 << 3,
  VERBS_QP_PKEY_INDEX = 1 << 4,
  VERBS_QP_PORT = 1 << 5,
  VERBS_QP_AV = 1 << 7,
  VERBS_QP_PATH_MTU = 1 << 8,
  VERBS_QP_TIMEOUT = 1 << 9,
  VERBS_QP_RETRY_CNT = 1 << 10,
  VERBS_QP_RNR_RETRY = 1 << 11,
  VERBS_QP_RQ_PSN = 1 << 12,
  VERBS_QP_MAX_RD_ATOMIC = 1 << 13,
  VERBS_QP_MIN_RNR_TIMER = 1 << 15,
  VERBS_QP_SQ_PSN = 1 << 16,
  VERBS_QP_MAX_DEST_RD_ATOMIC = 1 << 17,
  VERBS_QP_DEST_QPN = 1 << 20,
};

enum {
  VERBS_WC_SUCCESS = 0,
  VERBS_WC_LOC_PROT_ERR = 4,
  VERBS_WC_WR_FLUSH_ERR = 5,
  VERBS_WC_REM_ACCESS_ERR = 10,
  VERBS_WC_RETRY_EXC_ERR = 12,
};

enum {
  VERBS_EVENT_CQ_ERR = 0,
  VERBS_EVENT_QP_FATAL = 1,
  VERBS_EVENT_QP_ACCESS_ERR = 3,
  VERBS_EVENT_PATH_MIG_ERR = 7,
  VERBS_EVENT_DEVICE_FATAL = 8,
  VERBS_EVENT_PORT_ACTIVE = 9,
  VERBS_EVENT_PORT_ERR = 10,
  VERBS_EVENT_SM_CHANGE = 13,
  VERBS_EVENT_QP_LAST_WQE_REACHED = 16,
  VERBS_EVENT_CLIENT_REREGISTER = 17,
  VERBS_EVENT_GID_CHANGE = 18,
};

#endif

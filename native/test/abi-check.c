/* Compiles only where native/src/verbs-abi.h has the layout of the installed <infiniband/verbs.h>. Nothing of it runs. */

/* A struct of theirs that we have no use for has a name of ours. */
#define verbs_context verbs_context_of_theirs
#include <infiniband/verbs.h>
#undef verbs_context

#include "../src/verbs-abi.h"

#define SAME_OFFSET(ours, our_field, theirs, their_field) \
  _Static_assert(offsetof(struct verbs_##ours, our_field) == offsetof(struct ibv_##theirs, their_field), #ours "." #our_field)
#define SAME(name, field) SAME_OFFSET(name, field, name, field)
#define SAME_SIZE(ours, theirs) _Static_assert(sizeof(struct verbs_##ours) == sizeof(struct ibv_##theirs), "size of " #ours)
#define EQUAL(ours, theirs) _Static_assert((int)VERBS_##ours == (int)(theirs), #ours)

SAME(context, device);
SAME_OFFSET(context, poll_cq, context, ops.poll_cq);
SAME_OFFSET(context, req_notify_cq, context, ops.req_notify_cq);
SAME_OFFSET(context, post_send, context, ops.post_send);
SAME(context, cmd_fd);
SAME(context, async_fd);
SAME(context, num_comp_vectors);

SAME(pd, context);
SAME(pd, handle);

SAME_SIZE(mr, mr);
SAME(mr, pd);
SAME(mr, addr);
SAME(mr, length);
SAME(mr, handle);
SAME(mr, lkey);
SAME(mr, rkey);

SAME_SIZE(comp_channel, comp_channel);
SAME(comp_channel, fd);
SAME(comp_channel, refcnt);

SAME(cq, channel);
SAME(cq, cq_context);
SAME(cq, cqe);

SAME(qp, pd);
SAME(qp, send_cq);
SAME(qp, recv_cq);
SAME(qp, qp_num);
SAME(qp, state);
SAME(qp, qp_type);

SAME_SIZE(qp_cap, qp_cap);
SAME(qp_cap, max_send_wr);
SAME(qp_cap, max_inline_data);

SAME_SIZE(qp_init_attr, qp_init_attr);
SAME(qp_init_attr, send_cq);
SAME(qp_init_attr, recv_cq);
SAME(qp_init_attr, cap);
SAME(qp_init_attr, qp_type);
SAME(qp_init_attr, sq_sig_all);

SAME_SIZE(global_route, global_route);
SAME(global_route, sgid_index);
SAME(global_route, hop_limit);
SAME_SIZE(ah_attr, ah_attr);
SAME(ah_attr, grh);
SAME(ah_attr, dlid);
SAME(ah_attr, is_global);
SAME(ah_attr, port_num);

SAME_SIZE(qp_attr, qp_attr);
SAME(qp_attr, qp_state);
SAME(qp_attr, path_mtu);
SAME(qp_attr, rq_psn);
SAME(qp_attr, sq_psn);
SAME(qp_attr, dest_qp_num);
SAME(qp_attr, qp_access_flags);
SAME(qp_attr, cap);
SAME(qp_attr, ah_attr);
SAME(qp_attr, alt_ah_attr);
SAME(qp_attr, pkey_index);
SAME(qp_attr, max_rd_atomic);
SAME(qp_attr, max_dest_rd_atomic);
SAME(qp_attr, min_rnr_timer);
SAME(qp_attr, port_num);
SAME(qp_attr, timeout);
SAME(qp_attr, retry_cnt);
SAME(qp_attr, rnr_retry);
SAME(qp_attr, rate_limit);

SAME_SIZE(sge, sge);
SAME(sge, length);
SAME(sge, lkey);

SAME_SIZE(send_wr, send_wr);
SAME(send_wr, next);
SAME(send_wr, sg_list);
SAME(send_wr, num_sge);
SAME(send_wr, opcode);
SAME(send_wr, send_flags);
SAME_OFFSET(send_wr, remote_addr, send_wr, wr.rdma.remote_addr);
SAME_OFFSET(send_wr, rkey, send_wr, wr.rdma.rkey);

SAME_SIZE(wc, wc);
SAME(wc, wr_id);
SAME(wc, status);
SAME(wc, opcode);
SAME(wc, vendor_err);
SAME(wc, byte_len);
SAME(wc, qp_num);

SAME_SIZE(port_attr, port_attr);
SAME(port_attr, active_mtu);
SAME(port_attr, gid_tbl_len);
SAME(port_attr, max_msg_sz);
SAME(port_attr, lid);
SAME(port_attr, link_layer);
SAME(port_attr, port_cap_flags2);

SAME_SIZE(gid_entry, gid_entry);
SAME(gid_entry, gid_index);
SAME(gid_entry, port_num);
SAME(gid_entry, gid_type);

SAME_SIZE(device_attr, device_attr);
SAME(device_attr, max_mr_size);
SAME(device_attr, max_qp);
SAME(device_attr, max_qp_wr);
SAME(device_attr, max_sge);
SAME(device_attr, max_cqe);
SAME(device_attr, max_mr);
SAME(device_attr, max_qp_rd_atom);
SAME(device_attr, max_qp_init_rd_atom);
SAME(device_attr, phys_port_cnt);

SAME_SIZE(async_event, async_event);
SAME(async_event, element);
SAME(async_event, event_type);
_Static_assert(sizeof(union verbs_gid) == sizeof(union ibv_gid), "size of gid");

EQUAL(WR_RDMA_READ, IBV_WR_RDMA_READ);
EQUAL(SEND_SIGNALED, IBV_SEND_SIGNALED);
EQUAL(WC_RDMA_READ, IBV_WC_RDMA_READ);
EQUAL(ACCESS_LOCAL_WRITE, IBV_ACCESS_LOCAL_WRITE);
EQUAL(ACCESS_REMOTE_READ, IBV_ACCESS_REMOTE_READ);
EQUAL(QPT_RC, IBV_QPT_RC);
EQUAL(QPS_RESET, IBV_QPS_RESET);
EQUAL(QPS_INIT, IBV_QPS_INIT);
EQUAL(QPS_RTR, IBV_QPS_RTR);
EQUAL(QPS_RTS, IBV_QPS_RTS);
EQUAL(QPS_ERR, IBV_QPS_ERR);
EQUAL(PORT_DOWN, IBV_PORT_DOWN);
EQUAL(PORT_ACTIVE, IBV_PORT_ACTIVE);
EQUAL(LINK_INFINIBAND, IBV_LINK_LAYER_INFINIBAND);
EQUAL(LINK_ETHERNET, IBV_LINK_LAYER_ETHERNET);
EQUAL(GID_ROCE_V1, IBV_GID_TYPE_ROCE_V1);
EQUAL(GID_ROCE_V2, IBV_GID_TYPE_ROCE_V2);
EQUAL(QP_STATE, IBV_QP_STATE);
EQUAL(QP_ACCESS_FLAGS, IBV_QP_ACCESS_FLAGS);
EQUAL(QP_PKEY_INDEX, IBV_QP_PKEY_INDEX);
EQUAL(QP_PORT, IBV_QP_PORT);
EQUAL(QP_AV, IBV_QP_AV);
EQUAL(QP_PATH_MTU, IBV_QP_PATH_MTU);
EQUAL(QP_TIMEOUT, IBV_QP_TIMEOUT);
EQUAL(QP_RETRY_CNT, IBV_QP_RETRY_CNT);
EQUAL(QP_RNR_RETRY, IBV_QP_RNR_RETRY);
EQUAL(QP_RQ_PSN, IBV_QP_RQ_PSN);
EQUAL(QP_MAX_RD_ATOMIC, IBV_QP_MAX_QP_RD_ATOMIC);
EQUAL(QP_MIN_RNR_TIMER, IBV_QP_MIN_RNR_TIMER);
EQUAL(QP_SQ_PSN, IBV_QP_SQ_PSN);
EQUAL(QP_MAX_DEST_RD_ATOMIC, IBV_QP_MAX_DEST_RD_ATOMIC);
EQUAL(QP_DEST_QPN, IBV_QP_DEST_QPN);
EQUAL(WC_SUCCESS, IBV_WC_SUCCESS);
EQUAL(WC_LOC_PROT_ERR, IBV_WC_LOC_PROT_ERR);
EQUAL(WC_WR_FLUSH_ERR, IBV_WC_WR_FLUSH_ERR);
EQUAL(WC_REM_ACCESS_ERR, IBV_WC_REM_ACCESS_ERR);
EQUAL(WC_RETRY_EXC_ERR, IBV_WC_RETRY_EXC_ERR);
EQUAL(EVENT_CQ_ERR, IBV_EVENT_CQ_ERR);
EQUAL(EVENT_QP_FATAL, IBV_EVENT_QP_FATAL);
EQUAL(EVENT_QP_ACCESS_ERR, IBV_EVENT_QP_ACCESS_ERR);
EQUAL(EVENT_PATH_MIG_ERR, IBV_EVENT_PATH_MIG_ERR);
EQUAL(EVENT_DEVICE_FATAL, IBV_EVENT_DEVICE_FATAL);
EQUAL(EVENT_PORT_ACTIVE, IBV_EVENT_PORT_ACTIVE);
EQUAL(EVENT_PORT_ERR, IBV_EVENT_PORT_ERR);
EQUAL(EVENT_SM_CHANGE, IBV_EVENT_SM_CHANGE);
EQUAL(EVENT_QP_LAST_WQE_REACHED, IBV_EVENT_QP_LAST_WQE_REACHED);
EQUAL(EVENT_CLIENT_REREGISTER, IBV_EVENT_CLIENT_REREGISTER);
EQUAL(EVENT_GID_CHANGE, IBV_EVENT_GID_CHANGE);

/* Protection domains and registrations. */
#include <errno.h>

#include "provider.h"

static uint64_t registered; /* bytes, of the process */
static uint64_t limit = UINT64_MAX;

void memory_limit(uint64_t bytes) {
  __atomic_store_n(&limit, bytes, __ATOMIC_SEQ_CST);
}

EXPORT struct verbs_pd *ibv_alloc_pd(struct verbs_context *verbs) {
  errno = ordered("ibv_alloc_pd");
  if (errno != 0) return NULL;
  struct domain *domain = calloc(1, sizeof *domain);
  domain->verbs.context = verbs;
  control_count(DOMAINS, 1);
  return &domain->verbs;
}

EXPORT int ibv_dealloc_pd(struct verbs_pd *pd) {
  struct domain *domain = (struct domain *)pd;
  int error = __atomic_load_n(&domain->children, __ATOMIC_SEQ_CST) > 0 ? EBUSY : ordered("ibv_dealloc_pd");
  if (error != 0) return error;
  free(domain);
  control_count(DOMAINS, -1);
  return 0;
}

static int pin(uint64_t length) {
  uint64_t sum = __atomic_add_fetch(&registered, length, __ATOMIC_SEQ_CST);
  if (sum <= __atomic_load_n(&limit, __ATOMIC_SEQ_CST)) return 0;
  __atomic_sub_fetch(&registered, length, __ATOMIC_SEQ_CST);
  return ENOMEM;
}

/* Places are taken in turn, and a key holds how often its place was taken: an old key does not soon fit again. */
static int place(struct context *context, struct region *region) {
  static unsigned generation;
  for (unsigned tried = 0; tried < REGIONS_MAX; tried++) {
    context->last_region = (context->last_region + 1) % REGIONS_MAX;
    if (context->regions[context->last_region] != NULL) continue;
    context->regions[context->last_region] = region;
    region->verbs.handle = context->last_region;
    region->verbs.lkey = region->verbs.rkey = context->last_region << 8 | (++generation & 255);
    return 0;
  }
  return ENOMEM;
}

EXPORT struct verbs_mr *ibv_reg_mr(struct verbs_pd *pd, void *bytes, size_t length, int access) {
  struct context *context = (struct context *)pd->context;
  errno = ordered("ibv_reg_mr");
  if (errno == 0) errno = pin(length);
  if (errno != 0) return NULL;
  struct region *region = calloc(1, sizeof *region);
  region->verbs = (struct verbs_mr){.context = pd->context, .pd = pd, .addr = bytes, .length = length};
  region->access = (unsigned)access;
  pthread_mutex_lock(&context->mutex);
  int error = place(context, region);
  pthread_mutex_unlock(&context->mutex);
  if (error != 0) {
    __atomic_sub_fetch(&registered, length, __ATOMIC_SEQ_CST);
    free(region);
    errno = error;
    return NULL;
  }
  __atomic_add_fetch(&((struct domain *)pd)->children, 1, __ATOMIC_SEQ_CST);
  control_count(REGIONS, 1);
  return &region->verbs;
}

EXPORT int ibv_dereg_mr(struct verbs_mr *mr) {
  struct context *context = (struct context *)mr->context;
  struct region *region = (struct region *)mr;
  int error = ordered("ibv_dereg_mr");
  if (error != 0) return error;
  pthread_mutex_lock(&context->mutex);
  context->regions[mr->handle] = NULL;
  while (region->users > 0) pthread_cond_wait(&context->changed, &context->mutex);
  pthread_mutex_unlock(&context->mutex);
  __atomic_sub_fetch(&registered, mr->length, __ATOMIC_SEQ_CST);
  __atomic_sub_fetch(&((struct domain *)mr->pd)->children, 1, __ATOMIC_SEQ_CST);
  free(region);
  control_count(REGIONS, -1);
  return 0;
}

static bool inside(const struct verbs_mr *mr, uint64_t address, uint64_t length) {
  uint64_t first = (uint64_t)(uintptr_t)mr->addr;
  return address >= first && address - first <= mr->length && length <= mr->length - (address - first);
}

struct region *memory_enter(struct context *context, const struct verbs_pd *pd, uint32_t key, uint64_t address, uint64_t length, unsigned access) {
  pthread_mutex_lock(&context->mutex);
  struct region *region = context->regions[(key >> 8) % REGIONS_MAX];
  bool ok = region != NULL && region->verbs.lkey == key && region->verbs.pd == pd && (region->access & access) == access &&
            inside(&region->verbs, address, length);
  if (ok) region->users++;
  pthread_mutex_unlock(&context->mutex);
  return ok ? region : NULL;
}

void memory_leave(struct context *context, struct region *region) {
  pthread_mutex_lock(&context->mutex);
  if (--region->users == 0) pthread_cond_broadcast(&context->changed);
  pthread_mutex_unlock(&context->mutex);
}

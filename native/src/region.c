#include "region.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#include "counters.h"
#include "environment.h"

/* A huge page of x86-64 and, with 4 KiB pages, of aarch64. */
enum { ALIGNMENT = 2 << 20 };

/* How much is populated or unmapped at a time; a multiple of the alignment. */
enum { STEP = 16 << 20 };

/* A step that takes longer is slower than the network that is to fill it. */
enum { SLOW_NS = 40 * 1000 * 1000 };

/* Since Linux 5.14; C libraries of before do not name it. */
enum { POPULATE_WRITE = 23 };

static uv_once_t once = UV_ONCE_INIT;
static uv_mutex_t mutex;
static struct region *regions;
static uint64_t last_id;

static void begin(void) {
  uv_mutex_init(&mutex);
}

static void enter(void) {
  uv_once(&once, begin);
  uv_mutex_lock(&mutex);
}

static void leave(void) {
  uv_mutex_unlock(&mutex);
}

/* Maps more than is wanted and gives the ends back. */
static char *map_aligned(size_t length) {
  char *start = mmap(NULL, length + ALIGNMENT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return NULL;
  size_t before = (ALIGNMENT - (uintptr_t)start % ALIGNMENT) % ALIGNMENT;
  if (before > 0) munmap(start, before);
  munmap(start + before + length, ALIGNMENT - before);
  return start + before;
}

static int take_pages(char *bytes, size_t length, size_t page) {
  if (madvise(bytes, length, POPULATE_WRITE) == 0) return 0;
  if (errno != EINVAL) return errno;
  for (size_t at = 0; at < length; at += page) *(volatile char *)(bytes + at) = 0;
  return 0;
}

/*
 * Takes every page, so that neither a registration nor the first write has to wait for it. In steps: for the time of each, no other thread can map memory.
 * Huge pages can be slower by ten times than ordinary ones, where the kernel has to move others out of the way or a hypervisor has lent them out. So after a
 * slow step come ordinary ones, one at first, twice as many after each further slow one.
 */
static int populate(char *bytes, size_t length, size_t page) {
  size_t ordinary = 0;
  size_t pause = 1;
  for (size_t at = 0; at < length; at += STEP) {
    size_t step = length - at < STEP ? length - at : STEP;
    bool huge = ordinary == 0;
    if (!huge) {
      ordinary--;
      madvise(bytes + at, step, MADV_NOHUGEPAGE);
    }
    uint64_t begin = uv_hrtime();
    int error = take_pages(bytes + at, step, page);
    if (error != 0) return error;
    if (huge && uv_hrtime() - begin > SLOW_NS) {
      ordinary = pause;
      pause *= 2;
    }
  }
  return 0;
}

static void unmap(char *bytes, size_t length) {
  for (size_t at = 0; at < length; at += STEP) munmap(bytes + at, length - at < STEP ? length - at : STEP);
}

struct region *region_map(size_t length, struct fault *fault) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t mapped = (length + page - 1) / page * page;
  char *bytes = map_aligned(mapped);
  if (bytes == NULL) {
    fault_errno(fault, ERR_MEMORY, "mmap", errno);
    return NULL;
  }
  madvise(bytes, mapped, MADV_HUGEPAGE); /* a wish */
  /* A child must not share pinned pages: on older kernels the parent would get a copy, and the device would go on writing to the page that is the child's now. */
  madvise(bytes, mapped, MADV_DONTFORK);
  int error = populate(bytes, mapped, page);
  if (error != 0) {
    unmap(bytes, mapped);
    fault_errno(fault, ERR_MEMORY, "MADV_POPULATE_WRITE", error);
    return NULL;
  }
  struct region *region = memory_for(sizeof *region);
  *region = (struct region){.bytes = bytes, .length = length, .mapped = mapped, .refs = 1};
  enter();
  region->id = ++last_id;
  region->next = regions;
  regions = region;
  leave();
  counter_add(live_regions, 1);
  counter_add(live_region_bytes, length);
  return region;
}

struct region *region_around(const void *bytes, size_t length) {
  uintptr_t start = (uintptr_t)bytes;
  if (bytes == NULL || length == 0) return NULL;
  enter();
  struct region *region = regions;
  while (region != NULL) {
    uintptr_t first = (uintptr_t)region->bytes;
    if (start >= first && start - first <= region->length && length <= region->length - (start - first)) break;
    region = region->next;
  }
  if (region != NULL) region->refs++;
  leave();
  return region;
}

struct region *region_with(uint64_t id) {
  enter();
  struct region *region = regions;
  while (region != NULL && region->id != id) region = region->next;
  if (region != NULL) region->refs++;
  leave();
  return region;
}

bool region_release(struct region *region) {
  enter();
  bool last = --region->refs == 0;
  if (last) {
    struct region **at = &regions;
    while (*at != region) at = &(*at)->next;
    *at = region->next;
  }
  leave();
  return last;
}

void region_unmap(struct region *region) {
  counter_subtract(live_regions, 1);
  counter_subtract(live_region_bytes, region->length);
  unmap(region->bytes, region->mapped);
  free(region);
}

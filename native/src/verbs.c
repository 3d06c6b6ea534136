#include "verbs.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

/* Paths are bounded as Linux bounds them. */
enum { PATH_BYTES_MAX = 4096 };

struct verbs verbs;

static uv_once_t once = UV_ONCE_INIT;
static uv_mutex_t mutex;
static char opened[PATH_BYTES_MAX]; /* empty: none */
static int loaded;

static void begin(void) {
  uv_mutex_init(&mutex);
}

/* Through node's own uv_dlopen: `dlopen` itself would ask for a C library of 2021 (GLIBC_2.34). */
static bool find(uv_lib_t *library, const char *symbol, void *function, struct fault *fault) {
  void *address = NULL;
  if (uv_dlsym(library, symbol, &address) != 0 || address == NULL) {
    fault_set(fault, ERR_UNAVAILABLE, "The verbs library is too old or none: no %s in it", symbol);
    return false;
  }
  memcpy(function, &address, sizeof address);
  return true;
}

static bool find_all(uv_lib_t *library, struct verbs *found, struct fault *fault) {
#define FIND(result, name, parameters) \
  if (!find(library, "ibv_" #name, &found->name, fault)) return false;
  VERBS_FUNCTIONS(FIND)
#undef FIND
  return find(library, "_ibv_query_gid_table", &found->query_gid_table, fault);
}

static bool open_library(const char *path, struct fault *fault) {
  uv_lib_t library;
  if (uv_dlopen(path, &library) != 0) {
    fault_set(fault, ERR_UNAVAILABLE, "No verbs library: %s", uv_dlerror(&library));
    uv_dlclose(&library);
    return false;
  }
  struct verbs found;
  if (!find_all(&library, &found, fault)) {
    uv_dlclose(&library);
    return false;
  }
  /* Kernels before 5.12 give a child that is forked the pinned pages and their parent copies. Where that is no danger this does nothing. It may also fail because
   * somebody else opened a device before: the regions are kept out of children anyway (region.c). */
  (void)found.fork_init();
  verbs = found;
  snprintf(opened, sizeof opened, "%s", path);
  __atomic_store_n(&loaded, 1, __ATOMIC_RELEASE);
  return true;
}

bool verbs_load(const char *path, struct fault *fault) {
  uv_once(&once, begin);
  uv_mutex_lock(&mutex);
  bool ok = strcmp(opened, path) == 0;
  if (!ok && opened[0] != '\0') {
    fault_set(fault, ERR_UNAVAILABLE, "Another verbs library is open already: %s", opened);
  } else if (!ok) {
    ok = open_library(path, fault);
  }
  uv_mutex_unlock(&mutex);
  return ok;
}

bool verbs_loaded(void) {
  return __atomic_load_n(&loaded, __ATOMIC_ACQUIRE) != 0;
}

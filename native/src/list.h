/* A doubly linked list whose links lie in its items. */
#ifndef RDMA_LIST_H
#define RDMA_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
  struct link *next;
  struct link *previous;
};

#define list_item(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))

static inline void list_begin(struct link *list) {
  list->next = list->previous = list;
}

static inline bool list_empty(const struct link *list) {
  return list->next == list;
}

static inline void list_add(struct link *list, struct link *item) {
  item->previous = list->previous;
  item->next = list;
  list->previous->next = item;
  list->previous = item;
}

/* An item that was removed can be removed again. */
static inline void list_remove(struct link *item) {
  item->previous->next = item->next;
  item->next->previous = item->previous;
  list_begin(item);
}

#endif

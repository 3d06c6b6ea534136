#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "provider.h"

bool notes_begin(struct notes *notes) {
  pthread_mutex_init(&notes->mutex, NULL);
  notes->size = 64;
  notes->ring = calloc(notes->size, sizeof *notes->ring);
  notes->fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  return notes->fd >= 0;
}

void notes_end(struct notes *notes) {
  close(notes->fd);
  free(notes->ring);
}

static struct note *at(struct notes *notes, unsigned index) {
  return &notes->ring[(notes->first + index) % notes->size];
}

static void grow(struct notes *notes) {
  struct note *ring = calloc(notes->size * 2, sizeof *ring);
  for (unsigned index = 0; index < notes->count; index++) ring[index] = *at(notes, index);
  free(notes->ring);
  notes->ring = ring;
  notes->first = 0;
  notes->size *= 2;
}

void notes_add(struct notes *notes, int type, void *element) {
  pthread_mutex_lock(&notes->mutex);
  if (notes->count == notes->size) grow(notes);
  *at(notes, notes->count++) = (struct note){type, element};
  pthread_mutex_unlock(&notes->mutex);
  eventfd_write(notes->fd, 1);
}

int notes_take(struct notes *notes, struct note *note) {
  eventfd_t one;
  if (eventfd_read(notes->fd, &one) != 0) return -1;
  pthread_mutex_lock(&notes->mutex);
  bool some = notes->count > 0;
  if (some) {
    *note = *at(notes, 0);
    notes->first = (notes->first + 1) % notes->size;
    notes->count--;
  }
  pthread_mutex_unlock(&notes->mutex);
  /* It was forgotten in the meantime. */
  if (!some) errno = EAGAIN;
  return some ? 0 : -1;
}

void notes_forget(struct notes *notes, const void *element) {
  pthread_mutex_lock(&notes->mutex);
  unsigned kept = 0;
  for (unsigned index = 0; index < notes->count; index++) {
    struct note note = *at(notes, index);
    if (note.element != element) *at(notes, kept++) = note;
  }
  notes->count = kept;
  pthread_mutex_unlock(&notes->mutex);
}

/* Orders of a test, a line each, over the unix socket SOFTVERBS_CONTROL/<process id>.sock. Each is answered with "ok" once it holds, or with "what?".
 *
 *   hold [parts]           answer no more reads after so many parts of up to 1 MiB (0 if not given)
 *   go                     answer again
 *   port down | port up    the port goes down, which cuts every connection, or comes back; both with their events
 *   event TYPE             such an event on every open device
 *   fail VERB ERRNO [N]    the next N calls of it fail (one if not given); the states INIT, RTR, RTS, ERR stand for ibv_modify_qp
 *   slow VERB MS           each call of it takes so long; 0 ends that
 *   memlock BYTES          as SOFTVERBS_MEMLOCK
 *   count                  what is alive: contexts domains regions channels completion-queues queue-pairs */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "provider.h"

enum { RULES_MAX = 64, VERB_BYTES_MAX = 40, LINE_BYTES_MAX = 200 };

struct rule {
  char verb[VERB_BYTES_MAX];
  int error;
  int times;
  long slow_ms;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct rule rules[RULES_MAX];
static bool held;
static long parts_left; /* until answers are held */
static int alive[COUNTED];

void control_count(enum counted what, int change) {
  __atomic_add_fetch(&alive[what], change, __ATOMIC_SEQ_CST);
}

static struct rule *rule_of(const char *verb, bool make) {
  for (int at = 0; at < RULES_MAX; at++) {
    if (strcmp(rules[at].verb, verb) == 0) return &rules[at];
    if (rules[at].verb[0] != '\0') continue;
    if (make) snprintf(rules[at].verb, sizeof rules[at].verb, "%s", verb);
    return make ? &rules[at] : NULL;
  }
  return NULL;
}

int ordered(const char *verb) {
  int error = 0;
  long slow_ms = 0;
  pthread_mutex_lock(&mutex);
  struct rule *rule = rule_of(verb, false);
  if (rule != NULL) {
    slow_ms = rule->slow_ms;
    if (rule->times > 0) {
      rule->times--;
      error = rule->error;
    }
  }
  pthread_mutex_unlock(&mutex);
  if (slow_ms > 0) nanosleep(&(struct timespec){slow_ms / 1000, slow_ms % 1000 * 1000000}, NULL);
  return error;
}

bool control_wait(const struct connection *connection) {
  pthread_mutex_lock(&mutex);
  while (held && parts_left == 0 && !__atomic_load_n(&connection->closing, __ATOMIC_SEQ_CST)) {
    pthread_cond_wait(&changed, &mutex);
  }
  if (held && parts_left > 0) parts_left--;
  pthread_mutex_unlock(&mutex);
  return !__atomic_load_n(&connection->closing, __ATOMIC_SEQ_CST);
}

void control_changed(void) {
  pthread_mutex_lock(&mutex);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static void hold(bool on, long parts) {
  pthread_mutex_lock(&mutex);
  held = on;
  parts_left = parts;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static bool set_rule(const char *verb, int error, int times, long slow_ms) {
  pthread_mutex_lock(&mutex);
  struct rule *rule = rule_of(verb, true);
  if (rule != NULL && times > 0) {
    rule->error = error;
    rule->times = times;
  } else if (rule != NULL) {
    rule->slow_ms = slow_ms;
  }
  pthread_mutex_unlock(&mutex);
  return rule != NULL;
}

static bool obey(const char *line) {
  char word[VERB_BYTES_MAX] = "";
  int number = 0;
  int times = 1;
  long amount = 0;
  unsigned long long bytes = 0;
  if (sscanf(line, "fail %39s %d %d", word, &number, &times) >= 2) return set_rule(word, number, times, 0);
  if (sscanf(line, "slow %39s %ld", word, &amount) == 2) return set_rule(word, 0, 0, amount);
  if (sscanf(line, "event %d", &number) == 1) {
    contexts_event(number);
  } else if (sscanf(line, "memlock %llu", &bytes) == 1) {
    memory_limit(bytes);
  } else if (sscanf(line, "hold %ld", &amount) == 1 || strcmp(line, "hold") == 0) {
    hold(true, amount);
  } else if (strcmp(line, "go") == 0) {
    hold(false, 0);
  } else if (strcmp(line, "port down") == 0 || strcmp(line, "port up") == 0) {
    port_set(line[5] == 'd');
  } else {
    return false;
  }
  return true;
}

static void answer(FILE *stream, const char *line) {
  if (strcmp(line, "count") != 0) {
    fputs(obey(line) ? "ok\n" : "what?\n", stream);
    return;
  }
  for (int at = 0; at < COUNTED; at++) {
    fprintf(stream, "%d%c", __atomic_load_n(&alive[at], __ATOMIC_SEQ_CST), at == COUNTED - 1 ? '\n' : ' ');
  }
}

static void *listen_main(void *argument) {
  int listener = *(int *)argument;
  char line[LINE_BYTES_MAX];
  free(argument);
  for (;;) {
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    FILE *stream = accepted < 0 ? NULL : fdopen(accepted, "r+");
    if (stream == NULL) return NULL;
    while (fgets(line, sizeof line, stream) != NULL) {
      line[strcspn(line, "\n")] = '\0';
      answer(stream, line);
      fflush(stream);
    }
    fclose(stream);
  }
}

static void begin(void) {
  const char *memlock = getenv("SOFTVERBS_MEMLOCK");
  if (memlock != NULL) memory_limit(strtoull(memlock, NULL, 10));
  const char *folder = getenv("SOFTVERBS_CONTROL");
  if (folder == NULL) return;
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  int written = snprintf(at.sun_path, sizeof at.sun_path, "%s/%d.sock", folder, (int)getpid());
  int *listener = malloc(sizeof *listener);
  *listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  pthread_t thread;
  if (written >= (int)sizeof at.sun_path || bind(*listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(*listener, 8) != 0 ||
      pthread_create(&thread, NULL, listen_main, listener) != 0) {
    perror("softverbs: no control socket");
    return;
  }
  pthread_detach(thread);
}

void control_begin(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, begin);
}

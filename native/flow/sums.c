#include "sums.h"

#include <string.h>

static uint32_t tables[8][256];

/* Inverted register in, inverted register out; so are the other two. */
static uint32_t crc_by_tables(uint32_t crc, const uint8_t *bytes, size_t length) {
  for (; length >= 8; length -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    word ^= crc;
    crc = 0;
    for (int at = 0; at < 8; at++) crc ^= tables[7 - at][(word >> (8 * at)) & 255];
  }
  for (; length > 0; length--) crc = (crc >> 8) ^ tables[0][(crc ^ *bytes++) & 255];
  return crc;
}

/* xxh64 as its specification has it: four lanes over stripes of 32 bytes, then the rest in words of 8, 4 and 1. */

static const uint64_t prime1 = 0x9e3779b185ebca87, prime2 = 0xc2b2ae3d27d4eb4f, prime3 = 0x165667b19e3779f9;
static const uint64_t prime4 = 0x85ebca77c2b2ae63, prime5 = 0x27d4eb2f165667c5;

static inline uint64_t word_at(const uint8_t *bytes) {
  uint64_t word;
  memcpy(&word, bytes, sizeof word);
  return word;
}

static inline uint64_t turned(uint64_t value, int bits) {
  return value << bits | value >> (64 - bits);
}

static inline uint64_t mixed(uint64_t lane, uint64_t word) {
  return turned(lane + word * prime2, 31) * prime1;
}

static uint32_t (*crc_best)(uint32_t, const uint8_t *, size_t) = crc_by_tables;

/* Both sums in one pass, of as many bytes as it likes: the count of those. The rest is for the others. NULL where there is no such way. */
static size_t (*both_best)(uint32_t *crc, uint64_t lanes[4], const uint8_t *bytes, size_t length);

#if defined(__x86_64__)
#include <immintrin.h>

#define FOLDING __attribute__((target("pclmul,sse4.1")))

/* Carries 128 bits over the distance that `powers` stand for. */
FOLDING static inline __m128i carried(__m128i bits, __m128i powers, __m128i onto) {
  __m128i low = _mm_clmulepi64_si128(bits, powers, 0x00);
  __m128i high = _mm_clmulepi64_si128(bits, powers, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

enum { LANES = 8, STEP = LANES * 16 };

/* Of lanes that lie one after another, and of what follows them. What is left after the folding has 16 bytes, and the tables do the rest. */
FOLDING static uint32_t crc_of_lanes(const __m128i lanes[LANES], const uint8_t *bytes, size_t length) {
  const __m128i over_16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
  __m128i all = lanes[0];
  for (int at = 1; at < LANES; at++) all = carried(all, over_16, lanes[at]);
  for (; length >= 16; bytes += 16, length -= 16) all = carried(all, over_16, _mm_loadu_si128((const __m128i *)bytes));
  uint8_t left[16];
  _mm_storeu_si128((__m128i *)left, all);
  return crc_by_tables(crc_by_tables(0, left, sizeof left), bytes, length);
}

/* Eight lanes, because a multiplication takes some cycles and a new one can begin in each. What is left after the folding has 16 bytes, and the tables do the rest. */
FOLDING static uint32_t crc_by_folding(uint32_t crc, const uint8_t *bytes, size_t length) {
  if (length < STEP) return crc_by_tables(crc, bytes, length);
  /* Powers of x modulo the polynomial, bit-reflected: x^(d+32) and x^(d-32) for a distance of d bits. */
  const __m128i over_128 = _mm_set_epi64x(0x14a7fe880, 0x1e88ef372);
  __m128i lanes[LANES];
  for (int at = 0; at < LANES; at++) lanes[at] = _mm_loadu_si128((const __m128i *)bytes + at);
  lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128((int)crc));
  bytes += STEP;
  length -= STEP;
  for (; length >= STEP; bytes += STEP, length -= STEP) {
    for (int at = 0; at < LANES; at++) {
      lanes[at] = carried(lanes[at], over_128, _mm_loadu_si128((const __m128i *)bytes + at));
    }
  }
  return crc_of_lanes(lanes, bytes, length);
}

/* Both in one loop: xxh64 waits for one part of the processor and the folding for another, so together they take as long as xxh64 alone. */
FOLDING static size_t both_by_folding(uint32_t *crc, uint64_t into[4], const uint8_t *bytes, size_t length) {
  if (length < STEP) return 0;
  const __m128i over_128 = _mm_set_epi64x(0x14a7fe880, 0x1e88ef372);
  __m128i lanes[LANES];
  for (int lane = 0; lane < LANES; lane++) lanes[lane] = _mm_setzero_si128();
  __m128i before = _mm_cvtsi32_si128((int)*crc);
  uint64_t a = into[0], b = into[1], c = into[2], d = into[3];
  size_t at = 0;
  for (; length - at >= STEP; at += STEP) {
#pragma GCC unroll 8
    for (int lane = 0; lane < LANES; lane += 2) {
      const uint8_t *stripe = bytes + at + lane * 16;
      lanes[lane] = carried(lanes[lane], over_128, _mm_xor_si128(_mm_loadu_si128((const __m128i *)stripe), before));
      lanes[lane + 1] = carried(lanes[lane + 1], over_128, _mm_loadu_si128((const __m128i *)stripe + 1));
      before = _mm_setzero_si128();
      a = mixed(a, word_at(stripe));
      b = mixed(b, word_at(stripe + 8));
      c = mixed(c, word_at(stripe + 16));
      d = mixed(d, word_at(stripe + 24));
    }
  }
  into[0] = a;
  into[1] = b;
  into[2] = c;
  into[3] = d;
  *crc = crc_of_lanes(lanes, bytes, 0);
  return at;
}

static void choose(void) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("sse4.1")) return;
  crc_best = crc_by_folding;
  both_best = both_by_folding;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

/* HWCAP_CRC32 of Linux. */
enum { HAS_CRC = 1 << 7 };

__attribute__((target("+crc"))) static uint32_t crc_by_instruction(uint32_t crc, const uint8_t *bytes, size_t length) {
  for (; length >= 8; length -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    crc = __builtin_aarch64_crc32x(crc, word);
  }
  for (; length > 0; length--) crc = __builtin_aarch64_crc32b(crc, *bytes++);
  return crc;
}

static void choose(void) {
  if (getauxval(AT_HWCAP) & HAS_CRC) crc_best = crc_by_instruction;
}
#else
static void choose(void) {}
#endif

void sums_prepare(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xedb88320u : crc >> 1;
    tables[0][byte] = crc;
  }
  for (int at = 1; at < 8; at++) {
    for (int byte = 0; byte < 256; byte++) {
      uint32_t before = tables[at - 1][byte];
      tables[at][byte] = (before >> 8) ^ tables[0][before & 255];
    }
  }
  choose();
}

uint32_t crc32_add(uint32_t before, const void *bytes, size_t length) {
  return ~crc_best(~before, bytes, length);
}

static size_t add_stripes(uint64_t lanes[4], const uint8_t *bytes, size_t length) {
  uint64_t a = lanes[0], b = lanes[1], c = lanes[2], d = lanes[3];
  size_t at = 0;
  for (; length - at >= 32; at += 32) {
    a = mixed(a, word_at(bytes + at));
    b = mixed(b, word_at(bytes + at + 8));
    c = mixed(c, word_at(bytes + at + 16));
    d = mixed(d, word_at(bytes + at + 24));
  }
  lanes[0] = a;
  lanes[1] = b;
  lanes[2] = c;
  lanes[3] = d;
  return at;
}

/* As many bytes of a stripe as are there, and no more than it lacks. */
static size_t fill_stripe(struct sums *sums, const uint8_t *bytes, size_t length) {
  size_t kept = sums->length % sizeof sums->rest;
  size_t wanted = sizeof sums->rest - kept < length ? sizeof sums->rest - kept : length;
  memcpy(sums->rest + kept, bytes, wanted);
  sums->length += wanted;
  if (kept + wanted == sizeof sums->rest) add_stripes(sums->lanes, sums->rest, sizeof sums->rest);
  return wanted;
}

void sums_begin(struct sums *sums, bool hashes) {
  *sums = (struct sums){.hashes = hashes, .lanes = {prime1 + prime2, prime2, 0, 0 - prime1}};
}

/* In parts, so that the second sum finds in the cache what the first one has read. */
static const size_t part_bytes = 16 * 1024;

static void add_part(struct sums *sums, const uint8_t *bytes, size_t length) {
  size_t head = sums->length % sizeof sums->rest == 0 ? 0 : fill_stripe(sums, bytes, length);
  uint32_t crc = ~sums->crc;
  if (head > 0) crc = crc_best(crc, bytes, head);
  const uint8_t *at = bytes + head;
  size_t left = length - head;
  size_t done = both_best == NULL ? 0 : both_best(&crc, sums->lanes, at, left);
  sums->crc = ~crc_best(crc, at + done, left - done);
  done += add_stripes(sums->lanes, at + done, left - done);
  sums->length += done;
  if (left > done) fill_stripe(sums, at + done, left - done);
}

void sums_add(struct sums *sums, const void *bytes, size_t length) {
  if (!sums->hashes) {
    sums->crc = crc32_add(sums->crc, bytes, length);
    return;
  }
  const uint8_t *at = bytes;
  size_t max = both_best == NULL ? part_bytes : length;
  while (length > 0) {
    size_t part = length < max ? length : max;
    add_part(sums, at, part);
    at += part;
    length -= part;
  }
}

uint64_t sums_xxh64(const struct sums *sums) {
  const uint64_t *lanes = sums->lanes;
  uint64_t hash = prime5;
  if (sums->length >= 32) {
    hash = turned(lanes[0], 1) + turned(lanes[1], 7) + turned(lanes[2], 12) + turned(lanes[3], 18);
    for (int at = 0; at < 4; at++) hash = (hash ^ mixed(0, lanes[at])) * prime1 + prime4;
  }
  hash += sums->length;
  const uint8_t *rest = sums->rest;
  size_t left = sums->length % sizeof sums->rest;
  for (; left >= 8; left -= 8, rest += 8) hash = turned(hash ^ mixed(0, word_at(rest)), 27) * prime1 + prime4;
  if (left >= 4) {
    uint32_t word;
    memcpy(&word, rest, sizeof word);
    hash = turned(hash ^ word * prime1, 23) * prime2 + prime3;
    rest += 4;
    left -= 4;
  }
  for (; left > 0; left--) hash = turned(hash ^ *rest++ * prime5, 11) * prime1;
  hash = (hash ^ hash >> 33) * prime2;
  hash = (hash ^ hash >> 29) * prime3;
  return hash ^ hash >> 32;
}

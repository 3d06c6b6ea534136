/* The two digests of a piece, of bytes that come in parts: CRC-32, which goes over the wire, and xxh64 with seed 0, which guards what is kept. */
#ifndef FLOW_SUMS_H
#define FLOW_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lies in a Uint8Array of JavaScript between the parts. */
struct sums {
  uint32_t crc;
  uint32_t hashes; /* whether the xxh64 is wanted */
  uint64_t length;
  uint64_t lanes[4];
  uint8_t rest[32]; /* the last bytes, fewer than 32 */
};

void sums_begin(struct sums *sums, bool hashes);
void sums_add(struct sums *sums, const void *bytes, size_t length);
uint64_t sums_xxh64(const struct sums *sums);
uint32_t crc32_add(uint32_t before, const void *bytes, size_t length);

/* Finds out what the processor has. Before anything else. */
void sums_prepare(void);

#endif

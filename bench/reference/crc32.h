/* CRC-32 (the one of zlib) with what the processor has: carry-less multiplication on x86-64, the CRC instructions on arm64, else eight tables. */
#ifndef CRC32_H
#define CRC32_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint32_t crc_tables[8][256];

static void crc_setup(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? (c >> 1) ^ 0xedb88320u : c >> 1;
    crc_tables[0][i] = c;
  }
  for (int t = 1; t < 8; t++)
    for (uint32_t i = 0; i < 256; i++)
      crc_tables[t][i] = (crc_tables[t - 1][i] >> 8) ^ crc_tables[0][crc_tables[t - 1][i] & 255];
}

/* `c` is the inverted register here and in the next two functions. */
static uint32_t crc_by_tables(uint32_t c, const uint8_t *p, size_t length) {
  for (; length >= 8; length -= 8, p += 8) {
    uint32_t low, high;
    memcpy(&low, p, 4);
    memcpy(&high, p + 4, 4);
    low ^= c;
    c = crc_tables[7][low & 255] ^ crc_tables[6][low >> 8 & 255] ^ crc_tables[5][low >> 16 & 255] ^
        crc_tables[4][low >> 24] ^ crc_tables[3][high & 255] ^ crc_tables[2][high >> 8 & 255] ^
        crc_tables[1][high >> 16 & 255] ^ crc_tables[0][high >> 24];
  }
  while (length--) c = (c >> 8) ^ crc_tables[0][(c ^ *p++) & 255];
  return c;
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("pclmul,sse4.1"))) static __m128i crc_fold(__m128i x, __m128i k, __m128i next) {
  return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00), _mm_clmulepi64_si128(x, k, 0x11)), next);
}

/* Four lanes of 16 bytes are folded over 64 bytes at a time, then into one, whose remainder the tables give. The constants are powers of x modulo the polynomial. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc_by_multiplying(uint32_t c, const uint8_t *p, size_t length) {
  const __m128i by64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
  const __m128i by16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  const __m128i *at = (const __m128i *)p;
  __m128i x[4];
  for (int i = 0; i < 4; i++) x[i] = _mm_loadu_si128(at++);
  x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)c));
  for (length -= 64; length >= 64; length -= 64, at += 4)
    for (int i = 0; i < 4; i++) x[i] = crc_fold(x[i], by64, _mm_loadu_si128(at + i));
  __m128i all = x[0];
  for (int i = 1; i < 4; i++) all = crc_fold(all, by16, x[i]);
  for (; length >= 16; length -= 16) all = crc_fold(all, by16, _mm_loadu_si128(at++));
  uint8_t left[16];
  _mm_storeu_si128((__m128i *)left, all);
  return crc_by_tables(crc_by_tables(0, left, 16), (const uint8_t *)at, length);
}

static uint32_t crc32_of(const void *bytes, size_t length, uint32_t before) {
  if (length >= 64 && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
    return ~crc_by_multiplying(~before, bytes, length);
  return ~crc_by_tables(~before, bytes, length);
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
#define CRC_INSTRUCTIONS (1 << 7)

__attribute__((target("+crc"))) static uint32_t crc_by_instructions(uint32_t c, const uint8_t *p, size_t length) {
  for (; length >= 8; length -= 8, p += 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    c = __builtin_aarch64_crc32x(c, word);
  }
  while (length--) c = __builtin_aarch64_crc32b(c, *p++);
  return c;
}

static uint32_t crc32_of(const void *bytes, size_t length, uint32_t before) {
  if (getauxval(AT_HWCAP) & CRC_INSTRUCTIONS) return ~crc_by_instructions(~before, bytes, length);
  return ~crc_by_tables(~before, bytes, length);
}
#else
static uint32_t crc32_of(const void *bytes, size_t length, uint32_t before) {
  return ~crc_by_tables(~before, bytes, length);
}
#endif
#endif

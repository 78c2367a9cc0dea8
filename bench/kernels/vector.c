/* SPDX-License-Identifier: MIT */
/* Vector kernels for SSE4, AVX2 and AVX-512, and the ciphers' instructions. */
#include "bench/bench.h"

#include <immintrin.h>
#include <string.h>

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl");
}

static bool has_aes(void)
{
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
}

static void floats(void)
{
	float *f = (float *)arena;
	int i;

	for (i = 0; i < 65536; i++)
		f[i] = i % 13 * 0.25f;
}

static u64 lanes(const void *p, int size)
{
	const u8 *b = p;
	u64 h = 0;

	while (size--)
		h = h * 31 + *b++;
	return h;
}

/* y = a x + y over 16 KiB. */
__attribute__((target("sse4.1"))) static u64 sse_saxpy(u64 n)
{
	float *x = (float *)arena, *y = x + 4096;
	__m128 a = _mm_set1_ps(0.001f);
	int i;

	floats();
	for (; n; n--)
		for (i = 0; i < 4096; i += 4)
			_mm_storeu_ps(
				y + i, _mm_add_ps(_mm_mul_ps(a, _mm_loadu_ps(x + i)), _mm_loadu_ps(y + i)));
	return lanes(y, 64);
}

__attribute__((target("avx2,fma"))) static u64 avx2_saxpy(u64 n)
{
	float *x = (float *)arena, *y = x + 4096;
	__m256 a = _mm256_set1_ps(0.001f);
	int i;

	for (; n; n--)
		for (i = 0; i < 4096; i += 8)
			_mm256_storeu_ps(
				y + i, _mm256_fmadd_ps(a, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
	return 0;
}

__attribute__((target("avx512f"))) static u64 avx512_saxpy(u64 n)
{
	float *x = (float *)arena, *y = x + 4096;
	__m512 a = _mm512_set1_ps(0.001f);
	int i;

	for (; n; n--)
		for (i = 0; i < 4096; i += 16)
			_mm512_storeu_ps(
				y + i, _mm512_fmadd_ps(a, _mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i)));
	return 0;
}

/* Sums of absolute differences of pixels, as video coders do. */
static u64 sse_sad(u64 n)
{
	__m128i sum = _mm_setzero_si128();
	int i;

	for (; n; n--)
		for (i = 0; i < 8192; i += 16)
			sum = _mm_add_epi64(sum, _mm_sad_epu8(_mm_loadu_si128((void *)(arena + i)),
							 _mm_loadu_si128((void *)(arena + i + 7))));
	return lanes(&sum, 16);
}

/* Byte shuffles and compares: counting letters by class. */
__attribute__((target("avx2"))) static u64 avx2_bytes(u64 n)
{
	__m256i table = _mm256_setr_epi8(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1, 2, 3, 4, 5,
		6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
	__m256i low = _mm256_set1_epi8(15), nine = _mm256_set1_epi8(9);
	u64 count = 0;
	int i;

	for (; n; n--) {
		for (i = 0; i < 8192; i += 32) {
			__m256i v = _mm256_loadu_si256((void *)(arena + i));
			__m256i k = _mm256_shuffle_epi8(table, _mm256_and_si256(v, low));

			count += __builtin_popcount(_mm256_movemask_epi8(_mm256_cmpgt_epi8(k, nine)));
		}
	}
	return count;
}

__attribute__((target("avx2"))) static u64 avx2_gather(u64 n)
{
	__m256i sum = _mm256_setzero_si256(), index = _mm256_setr_epi32(0, 100, 2000, 30, 4000, 5, 600, 77);
	const __m256i stride = _mm256_set1_epi32(13), mask = _mm256_set1_epi32(4095);

	for (; n; n--) {
		sum = _mm256_add_epi32(sum, _mm256_i32gather_epi32((const int *)arena, index, 4));
		index = _mm256_and_si256(_mm256_add_epi32(index, stride), mask);
	}
	return lanes(&sum, 32);
}

/* Masks: keep the positive elements, compressed. */
__attribute__((target("avx512f,avx512bw,avx512vl"))) static u64 avx512_compress(u64 n)
{
	const int *in = (int *)arena;
	int *out = (int *)(arena + 65536), i, kept = 0;

	for (; n; n--) {
		for (i = kept = 0; i < 4096; i += 16) {
			__m512i v = _mm512_loadu_si512(in + i);
			__mmask16 k = _mm512_test_epi32_mask(v, _mm512_set1_epi32(0x01800000));

			_mm512_storeu_si512(out + kept, _mm512_maskz_compress_epi32(k, v));
			kept += __builtin_popcount(k);
		}
	}
	return kept;
}

__attribute__((target("aes,pclmul,sse4.1"))) static u64 aes_rounds(u64 n)
{
	__m128i x = _mm_set1_epi32(0x1234567), k = _mm_set1_epi32(0x9e3779b9), g = x;
	int i;

	for (; n; n--) {
		for (i = 0; i < 10; i++)
			x = _mm_aesenc_si128(x, k);
		g = _mm_xor_si128(_mm_clmulepi64_si128(g, x, 0x11), x);
	}
	return lanes(&g, 16);
}

const struct row vector_rows[] = {
	{.name = "sse-saxpy", .class = "fp", .run = sse_saxpy, .n = 40000, .setup = floats},
	{.name = "sse-sad", .class = "fp", .run = sse_sad, .n = 100000, .setup = floats},
	{.name = "avx2-saxpy",
		.class = "fp",
		.run = avx2_saxpy,
		.n = 60000,
		.setup = floats,
		.able = has_avx2},
	{.name = "avx2-bytes",
		.class = "fp",
		.run = avx2_bytes,
		.n = 60000,
		.setup = floats,
		.able = has_avx2},
	{.name = "avx2-gather",
		.class = "fp",
		.run = avx2_gather,
		.n = 3000000,
		.setup = floats,
		.able = has_avx2},
	{.name = "avx512-saxpy",
		.class = "fp",
		.run = avx512_saxpy,
		.n = 80000,
		.setup = floats,
		.able = has_avx512},
	{.name = "avx512-compress",
		.class = "fp",
		.run = avx512_compress,
		.n = 20000,
		.setup = floats,
		.able = has_avx512},
	{.name = "aes-clmul", .class = "fp", .run = aes_rounds, .n = 1000000, .able = has_aes},
	{.name = NULL},
};

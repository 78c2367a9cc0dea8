/* SPDX-License-Identifier: MIT */
/* Floating point: scalar and compiler-vectorized SSE2, and the x87. */
#include "bench/bench.h"

#include <math.h>
#include <string.h>

static u64 bits(double x)
{
	u64 v;

	memcpy(&v, &x, 8);
	return v;
}

static u64 matrix(u64 n)
{
	double *a = (double *)arena, *b = a + 64 * 64, *c = b + 64 * 64;
	int i, j, k;

	for (i = 0; i < 64 * 64; i++) {
		a[i] = i % 7;
		b[i] = i % 5 * 0.5;
		c[i] = 0;
	}
	for (; n; n--)
		for (i = 0; i < 64; i++)
			for (j = 0; j < 64; j++)
				for (k = 0; k < 64; k++)
					c[i * 64 + k] += a[i * 64 + j] * b[j * 64 + k];
	return bits(c[777]);
}

struct body {
	double x[3], v[3], mass;
};

static void step(struct body *b, double dt)
{
	int i, j, k;

	for (i = 0; i < 5; i++) {
		for (j = i + 1; j < 5; j++) {
			double d[3], r2 = 0, pull;

			for (k = 0; k < 3; k++) {
				d[k] = b[i].x[k] - b[j].x[k];
				r2 += d[k] * d[k];
			}
			pull = dt / (r2 * sqrt(r2));
			for (k = 0; k < 3; k++) {
				b[i].v[k] -= d[k] * b[j].mass * pull;
				b[j].v[k] += d[k] * b[i].mass * pull;
			}
		}
	}
	for (i = 0; i < 5; i++)
		for (k = 0; k < 3; k++)
			b[i].x[k] += dt * b[i].v[k];
}

static u64 bodies(u64 n)
{
	struct body b[5];
	int i, k;

	for (i = 0; i < 5; i++) {
		for (k = 0; k < 3; k++) {
			b[i].x[k] = i * 1.5 + k * 0.3 + i * k * 0.1;
			b[i].v[k] = 0.01 * (i - k);
		}
		b[i].mass = 1 + i * 0.1;
	}
	for (; n; n--)
		step(b, 0.001);
	return bits(b[0].x[0]);
}

static u64 mandelbrot(u64 n)
{
	u64 inside = 0;
	int x, y, i;

	for (; n; n--) {
		for (y = 0; y < 64; y++) {
			for (x = 0; x < 64; x++) {
				double cr = x / 32.0 - 1.5, ci = y / 32.0 - 1, r = 0, im = 0;

				for (i = 0; i < 100 && r * r + im * im < 4; i++) {
					double t = r * r - im * im + cr;

					im = 2 * r * im + ci;
					r = t;
				}
				inside += i == 100;
			}
		}
	}
	return inside;
}

/* Iterative radix-2 FFT of 1024 complex numbers. */
static u64 fft(u64 n)
{
	double *re = (double *)arena, *im = re + 1024, *wr = im + 1024, *wi = wr + 512;
	int i, j, k, len;

	for (i = 0; i < 512; i++) {
		wr[i] = cos(-2 * M_PI * i / 1024);
		wi[i] = sin(-2 * M_PI * i / 1024);
	}
	for (; n; n--) {
		for (i = 0; i < 1024; i++) {
			for (j = k = 0; k < 10; k++)
				j |= (i >> k & 1) << (9 - k);
			re[j] = i % 17 * 0.25 + n % 3;
			im[j] = 0;
		}
		for (len = 2; len <= 1024; len *= 2) {
			for (i = 0; i < 1024; i += len) {
				for (k = 0; k < len / 2; k++) {
					int a = i + k, b = a + len / 2, w = k * (1024 / len);
					double tr = re[b] * wr[w] - im[b] * wi[w],
					       ti = re[b] * wi[w] + im[b] * wr[w];

					re[b] = re[a] - tr;
					im[b] = im[a] - ti;
					re[a] += tr;
					im[a] += ti;
				}
			}
		}
	}
	return (u64)(i64)(re[3] * 1e6);
}

static u64 spectral(u64 n)
{
	double *u = (double *)arena, *v = u + 100, sum = 0;
	int i, j;

	for (i = 0; i < 100; i++)
		u[i] = 1;
	for (; n; n--) {
		for (i = 0; i < 100; i++)
			for (v[i] = 0, j = 0; j < 100; j++)
				v[i] += u[j] / ((i + j) * (i + j + 1) / 2 + i + 1);
		for (i = 0; i < 100; i++)
			u[i] = v[i] / v[0];
	}
	for (i = 0; i < 100; i++)
		sum += u[i];
	return bits(sum);
}

/* Library functions: exp, sin, pow. */
static u64 functions(u64 n)
{
	double x = 0.5, sum = 0;

	for (; n; n--) {
		sum += exp(x) + sin(x * 10) + pow(x + 1, 1.3) + log(x + 2);
		x = fmod(x + 0.37, 3);
	}
	return (u64)(i64)(sum * 1e3);
}

static u64 x87(u64 n)
{
	long double x = 0.5L, sum = 0;

	for (; n; n--) {
		sum += x * x / (1 + x) - sqrtl(x + 2);
		x = x * 3.7L * (1 - x);
	}
	return (u64)(i64)(sum * 1e3L);
}

static u64 x87_functions(u64 n)
{
	long double x = 0.25L, sum = 0, y;

	for (; n; n--) {
		__asm__("fsin" : "=t"(y) : "0"(x));
		sum += y;
		x += 0.01L;
	}
	return (u64)(i64)(sum * 1e6L);
}

static u64 convert(u64 n)
{
	u64 sum = 0, i;

	for (i = 0; i < n; i++) {
		double d = (double)(i64)(i * 77) * 1.0001;
		float f = (float)d;

		sum += (i64)d + (i32)f + (d > 1e6) + (f < 3e5f);
	}
	return sum;
}

const struct row float_rows[] = {
	{.name = "matrix", .class = "fp", .run = matrix, .n = 300},
	{.name = "bodies", .class = "fp", .run = bodies, .n = 300000},
	{.name = "mandelbrot", .class = "fp", .run = mandelbrot, .n = 60},
	{.name = "fft", .class = "fp", .run = fft, .n = 1500},
	{.name = "spectral", .class = "fp", .run = spectral, .n = 1500},
	{.name = "libm", .class = "fp", .run = functions, .n = 800000},
	{.name = "convert", .class = "fp", .run = convert, .n = 15000000},
	{.name = "x87", .class = "fp", .run = x87, .n = 2000000},
	{.name = "x87-sin", .class = "fp", .run = x87_functions, .n = 500000},
	{.name = NULL},
};

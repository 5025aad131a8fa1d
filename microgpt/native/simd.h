/* A vector of reals, as wide as the machine's registers, by the compilers' vector extensions:
 * + - * / work lane by lane, a scalar operand stands for all lanes. Here is what they lack. */
#ifndef MICROGPT_SIMD_H
#define MICROGPT_SIMD_H
#include <stdint.h>

#if REAL_BYTES == 4
typedef float real;
typedef int32_t integer;
typedef uint32_t bits;
#else
typedef double real;
typedef int64_t integer;
typedef uint64_t bits;
#endif

#if defined(__AVX512F__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#define SIMD "avx512"
#define ISA_(op, suffix) _mm512_##op##_##suffix
#elif defined(__AVX2__)
#include <immintrin.h>
#define VECTOR_BYTES 32
#define SIMD "avx2"
#define ISA_(op, suffix) _mm256_##op##_##suffix
#else
#define VECTOR_BYTES 16
#define SIMD "portable"
#if defined(__SSE2__)
#include <immintrin.h>
#define ISA_(op, suffix) _mm_##op##_##suffix
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif
#endif

#if REAL_BYTES == 4
#define ISA(op) ISA_(op, ps)
#else
#define ISA(op) ISA_(op, pd)
#endif

#define LANES (VECTOR_BYTES / REAL_BYTES) /* reals in a vector */
#define LINE (64 / REAL_BYTES) /* reals in a cache line; rows are padded to whole lines */
#define INLINE static inline __attribute__((always_inline))
/* Inlined wherever it is called, because then the compiler knows the sizes: but in WebAssembly,
 * which a page has to fetch, it is one function for any sizes. */
#if defined(__wasm__)
#define SPECIAL 0
#define COPIED static __attribute__((noinline))
#else
#define SPECIAL 1
#define COPIED INLINE
#endif
#if defined(__SANITIZE_ADDRESS__) /* checks in every copy of a loop would take minutes to compile */
#define UNROLL
#define UNROLL4
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL4 _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define UNROLL4 _Pragma("GCC unroll 4")
#endif

typedef real V __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef integer I __attribute__((vector_size(VECTOR_BYTES), may_alias)); /* what comparing gives */
typedef bits U __attribute__((vector_size(VECTOR_BYTES), may_alias));

INLINE V load(const real *at) { return *(const V *)at; }
INLINE void store(real *at, V x) { *(V *)at = x; }
INLINE V all(real x) { return x - (V){0}; } /* x in every lane */

/* ---- Lane by lane ---------------------------------------------------------------------------- */
#if defined(ISA_)
INLINE V max(V a, V b) { return (V)ISA(max)(a, b); }
INLINE V root(V x) { return (V)ISA(sqrt)(x); }
#elif defined(__ARM_NEON) && REAL_BYTES == 4
INLINE V max(V a, V b) { return (V)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
INLINE V root(V x) { return (V)vsqrtq_f32((float32x4_t)x); }
#elif defined(__ARM_NEON)
INLINE V max(V a, V b) { return (V)vmaxq_f64((float64x2_t)a, (float64x2_t)b); }
INLINE V root(V x) { return (V)vsqrtq_f64((float64x2_t)x); }
#elif defined(__wasm_simd128__) && REAL_BYTES == 4
/* pmax keeps a NaN in the first, x86 in the second */
INLINE V max(V a, V b) { return (V)wasm_f32x4_pmax((v128_t)b, (v128_t)a); }
INLINE V root(V x) { return (V)wasm_f32x4_sqrt((v128_t)x); }
#elif defined(__wasm_simd128__)
INLINE V max(V a, V b) { return (V)wasm_f64x2_pmax((v128_t)b, (v128_t)a); }
INLINE V root(V x) { return (V)wasm_f64x2_sqrt((v128_t)x); }
#else
INLINE V max(V a, V b) {
  for (int i = 0; i < LANES; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
  return a;
}
INLINE V root(V x) {
  for (int i = 0; i < LANES; i++)
    x[i] = (real)(sizeof(real) == 4 ? __builtin_sqrtf((float)x[i]) : __builtin_sqrt(x[i]));
  return x;
}
#endif

INLINE V keep(V x, I where) { return (V)((I)x & where); } /* x where the mask is set, else 0 */

/* 1 / x and 1 / sqrt(x), x > 0. The machine's estimates have 12 to 14 bits; a step of Newton's
 * method doubles them, to a float's 24, in half the time of a division. */
#if REAL_BYTES == 4 && defined(ISA_)
#if VECTOR_BYTES == 64
#define ESTIMATE(op) _mm512_##op##14_ps
#else
#define ESTIMATE(op) ISA(op)
#endif
INLINE V reciprocal(V x) {
  V y = (V)ESTIMATE(rcp)(x);
  return y * (2 - x * y);
}
INLINE V reciprocal_root(V x) {
  V y = (V)ESTIMATE(rsqrt)(x), half = y * (real)0.5;
  return y + half * (1 - x * y * y);
}
/* sqrt(x) = x / sqrt(x), corrected once: beside root(x), for a processor that does both at once */
INLINE V quick_root(V x) {
  V y = (V)ESTIMATE(rsqrt)(x), r = x * y;
  return r + (x - r * r) * (y * (real)0.5);
}
#else
INLINE V reciprocal(V x) { return 1 / x; }
INLINE V reciprocal_root(V x) { return 1 / root(x); }
INLINE V quick_root(V x) { return root(x); }
#endif

/* ---- Across lanes ---------------------------------------------------------------------------- */
/* SWAPn trades each lane with the one n further (lane ^ n). Of two vectors, ZIP interleaves the low
 * or the high halves of each 16 bytes, PICK joins the even or the odd ones of their 16 bytes. */
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#if LANES == 16
#define SWAP1(x) SHUFFLE(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#define SWAP2(x) SHUFFLE(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define SWAP4(x) SHUFFLE(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define SWAP8(x) SHUFFLE(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define PICK_EVEN(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define PICK_ODD(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#elif LANES == 8
#define SWAP1(x) SHUFFLE(x, x, 1, 0, 3, 2, 5, 4, 7, 6)
#define SWAP2(x) SHUFFLE(x, x, 2, 3, 0, 1, 6, 7, 4, 5)
#define SWAP4(x) SHUFFLE(x, x, 4, 5, 6, 7, 0, 1, 2, 3)
#define SWAP8(x) x
#if REAL_BYTES == 4
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define PICK_EVEN(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define PICK_ODD(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#define PICK_EVEN(a, b) SHUFFLE(a, b, 0, 1, 4, 5, 8, 9, 12, 13)
#define PICK_ODD(a, b) SHUFFLE(a, b, 2, 3, 6, 7, 10, 11, 14, 15)
#endif
#elif LANES == 4
#define SWAP1(x) SHUFFLE(x, x, 1, 0, 3, 2)
#define SWAP2(x) SHUFFLE(x, x, 2, 3, 0, 1)
#define SWAP4(x) x
#define SWAP8(x) x
#if REAL_BYTES == 4
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#else
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 4, 2, 6)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 1, 5, 3, 7)
#define PICK_EVEN(a, b) SHUFFLE(a, b, 0, 1, 4, 5)
#define PICK_ODD(a, b) SHUFFLE(a, b, 2, 3, 6, 7)
#endif
#else
#define SWAP1(x) SHUFFLE(x, x, 1, 0)
#define SWAP2(x) x
#define SWAP4(x) x
#define SWAP8(x) x
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 2)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 1, 3)
#endif

/* The sum of each group of n lanes (a power of two), in every lane of the group. */
INLINE V sum_of(V x, int n) {
  if (n > 1 && LANES > 1) x += SWAP1(x);
  if (n > 2 && LANES > 2) x += SWAP2(x);
  if (n > 4 && LANES > 4) x += SWAP4(x);
  if (n > 8 && LANES > 8) x += SWAP8(x);
  return x;
}

INLINE V max_of(V x) {
  x = max(x, SWAP1(x));
  if (LANES > 2) x = max(x, SWAP2(x));
  if (LANES > 4) x = max(x, SWAP4(x));
  if (LANES > 8) x = max(x, SWAP8(x));
  return x;
}

/* Rows become columns: each round trades a bit of the rows' numbers for one of the lanes' numbers,
 * first those inside of 16 bytes, then those that count the 16 bytes. */
#define TRADE(n, low, high)                                                            \
  UNROLL for (int k = 0; k < LANES; k += 2 * n) UNROLL for (int i = k; i < k + n; i++) { \
    V a = rows[i], b = rows[i + n];                                                    \
    rows[i] = low(a, b), rows[i + n] = high(a, b);                                     \
  }
INLINE void transpose(V rows[LANES]) {
  enum { BLOCK = 16 / REAL_BYTES };
  UNROLL for (int n = BLOCK / 2; n > 0; n /= 2) TRADE(n, ZIP_LOW, ZIP_HIGH)
#if VECTOR_BYTES > 16
  UNROLL for (int n = BLOCK; n < LANES; n *= 2) TRADE(n, PICK_EVEN, PICK_ODD)
#endif
}

/* ---- exp and log ----------------------------------------------------------------------------- */
/* e^x for x <= 0, as 2^n 2^f with n whole and |f| <= 1/2. Adding BIG rounds to a whole number, and
 * leaves it in the low bits, from where a shift moves it into the exponent of 2^f. */
#if REAL_BYTES == 4
#define BIG 12582912.0f /* 1.5 * 2^23 */
#define MANTISSA 23
#define LOWEST -87.0f /* e^-87 is the last above the denormals */
#else
#define BIG 6755399441055744.0 /* 1.5 * 2^52 */
#define MANTISSA 52
#define LOWEST -708.0
#endif
INLINE V exp_(V x) {
  const real log2_e = (real)1.4426950408889634;
  x = max(all(LOWEST), x); /* of these two, x86 keeps a NaN in the second */
  V shifted = x * log2_e + BIG;
  V f = x * log2_e - (shifted - BIG);
#if REAL_BYTES == 4 /* fitted at Chebyshev's points: within 3e-9, where a float has 6e-8 */
  static const real series[] = {1.54614449e-4f, 1.34004280e-3f, 9.61805694e-3f, 5.55032715e-2f,
                                2.40226507e-1f, 6.93147182e-1f, 1.0f};
#else /* ln(2)^k / k!: the rest of the series is below 1e-17 */
  static const real series[] = {1.3691488853904128e-12, 2.5678435993488196e-11,
                                4.4455382718708095e-10, 7.0549116208011209e-9,
                                1.0178086009239699e-7,  1.3215486790144307e-6,
                                1.5252733804059841e-5,  1.5403530393381608e-4,
                                1.3333558146428443e-3,  9.6181291076284769e-3,
                                5.5504108664821580e-2,  2.4022650695910072e-1,
                                6.9314718055994531e-1,  1.0};
#endif
  V y = all(series[0]);
  UNROLL for (int k = 1; k < (int)(sizeof series / sizeof *series); k++) y = y * f + series[k];
  return (V)((U)y + ((U)shifted << MANTISSA));
}

/* ln x for a normal x > 0: the exponent, and 2 atanh((m - 1) / (m + 1)) of m within a root of 2. */
INLINE V log_(V x) {
  const integer half_root = REAL_BYTES == 4 ? (integer)0x3f3504f3 : (integer)0x3fe6a09e667f3bcd;
  I n = ((I)x - half_root) >> MANTISSA;
  V m = (V)((U)x - ((U)n << MANTISSA));
  V s = (m - 1) / (m + 1), s2 = s * s, y = all((real)(1.0 / 23));
  UNROLL for (int k = 21; k > 0; k -= 2) y = y * s2 + (real)(1.0 / k);
  return __builtin_convertvector(n, V) * (real)0.69314718055994531 + 2 * s * y;
}

/* ---- Denormals ------------------------------------------------------------------------------- */
/* Moments of rows that are never touched fade below the smallest normal float, where arithmetic is
 * a hundred times slower; while the kernel runs, such numbers count as zero. */
INLINE uint64_t flush_denormals(void) {
#if defined(__SSE2__)
  uint64_t before = _mm_getcsr();
  _mm_setcsr((unsigned)before | 0x8040); /* flush to zero, denormals are zero */
  return before;
#elif defined(__aarch64__)
  uint64_t before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" : : "r"(before | (1u << 24)));
  return before;
#else
  return 0;
#endif
}
INLINE void restore_denormals(uint64_t before) {
#if defined(__SSE2__)
  _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
  __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
  (void)before;
#endif
}

/* Where there is no such mode, as in WebAssembly, what steps leave behind is cleared by hand. */
#if defined(__SSE2__) || defined(__aarch64__)
INLINE V flush(V x) { return x; }
#else
INLINE V flush(V x) {
  const integer exponent = REAL_BYTES == 4 ? (integer)0x7f800000 : (integer)0x7ff0000000000000;
  return keep(x, ((I)x & exponent) != 0);
}
#endif
#endif

/* What a training step's phases take, and how far each is from the least that this machine allows.
 * Built and run by bench/native.py: phases BATCH ROUNDS, in a folder with init.bin (parameters,
 * float64) and docs.bin (18 bytes a document: n, then n + 1 tokens). Prints JSON, microseconds a
 * step.
 *
 * It includes the kernel, to call its parts one by one: forward (with the loss) is `measure`,
 * forward and backward `gradient`, all of it `train`. The floors are loops that do only what cannot
 * be left out.
 */
#define KERNEL phases
#include "../microgpt/native/kernel.c"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS = 100, DOCS = 32000, PARAMS_ = 4192 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static void *block(double bytes) {
  void *at = aligned_alloc(4096, ((size_t)bytes + 4095) / 4096 * 4096);
  return memset(at, 0, (size_t)bytes);
}

/* ---- Floors ---------------------------------------------------------------------------------- */
enum { CHAINS = VECTOR_BYTES == 64 ? 16 : 10 }; /* enough that no product waits for another */

/* Microseconds a million multiply-adds take (of single numbers). */
static double multiply_adds(void) {
  V sum[CHAINS], x = all((real)0.5), y = all((real)0.25);
  UNROLL for (int c = 0; c < CHAINS; c++) sum[c] = all((real)c);
  __asm__ volatile("" : "+x"(x), "+x"(y));
  const double start = now();
  for (int i = 0; i < 4000; i++) {
    UNROLL for (int c = 0; c < CHAINS; c++) sum[c] = sum[c] * x + y;
  }
  const double took = now() - start;
  for (int c = 1; c < CHAINS; c++) sum[0] += sum[c];
  __asm__ volatile("" : : "x"(sum[0]));
  return took / (4000.0 * CHAINS * LANES) * 1e6;
}

/* Adam's traffic alone: parameters and moments read and written, transposed copies written. */
static double move(const Sizes s, real *model) {
  const double start = now();
  for (int step = 0; step < STEPS; step++)
    for (size i = 0; i < s.params; i += LANES) {
      V p = load(model + i), m = load(model + s.params + i), v = load(model + 2 * s.params + i);
      __asm__ volatile("" : "+x"(p), "+x"(m), "+x"(v));
      store(model + i, p), store(model + s.params + i, m), store(model + 2 * s.params + i, v);
      if (i >= s.lm_head) store(model + 3 * s.params + i, p);
    }
  return (now() - start) / STEPS;
}

/* Adam's arithmetic alone: as many vectors, but always the same few. */
static double compute(const Sizes s, real *model, const Adam *a) {
  Sizes near = s;
  near.params = 4 * LINE; /* moments lie beside the parameters */
  const double start = now();
  for (int step = 0; step < STEPS; step++)
    for (size i = 0, k = 0; i < s.params; i += LANES, k++)
      adam(near, model + k % 4 * LANES, all((real)1e-3), a, (int)k, KEEP);
  return (now() - start) / STEPS;
}

int main(int count, char **arguments) {
  const int batch = count > 1 ? atoi(arguments[1]) : 1,
            rounds = count > 2 ? atoi(arguments[2]) : 100;
  const Config c = PUBLISHED;
  const Sizes s = sizes(c);
  static double init[PARAMS_];
  static uint8_t rows_[DOCS][18];
  static int32_t tokens[DOCS][17];
  static Document docs[DOCS];
  FILE *file = fopen("init.bin", "rb");
  if (!file || fread(init, sizeof init, 1, file) != 1) return 1;
  fclose(file);
  file = fopen("docs.bin", "rb");
  const size_t n = file ? fread(rows_, 18, DOCS, file) : 0;
  if (n < (size_t)(STEPS * batch)) return 1;
  fclose(file);
  double positions = 0;
  for (size_t d = 0; d < n; d++) {
    for (int i = 0; i < 17; i++) tokens[d][i] = rows_[d][1 + i];
    docs[d] = (Document){tokens[d], NULL, rows_[d][0]};
    if (d < (size_t)(STEPS * batch)) positions += rows_[d][0];
  }
  void *model = block(model_bytes(&c)), *work = block(workspace_bytes(&c));
  real *few = block(1 << 16);
  put(&c, model, PARAMS, 1, init);
  const uint64_t mode = flush_denormals();

  double forward = 1e9, backward = 1e9, whole = 1e9, mul = 1e9, moved = 1e9, computed = 1e9,
         loss = 0;
  for (int round = 0; round < rounds; round++) {
    double start = now(), took;
#define BEST(best, work_)                                     \
  start = now();                                              \
  for (int step = 0; step < STEPS; step++) loss += work_;     \
  if ((took = (now() - start) / STEPS) < best) best = took
    BEST(forward, measure(&c, model, work, docs + step * batch, batch, 1.0 / batch, NULL));
    BEST(backward, gradient(&c, model, work, docs + step * batch, batch, 1.0 / batch));
    const Step with = {1e-4, 0.85, 0.99, 1e-8, 0, 1000};
    BEST(whole, train(&c, model, work, docs + step * batch, batch, &with));
    const Adam a = adam_of(&with);
    if ((took = multiply_adds()) < mul) mul = took;
    if ((took = move(s, model)) < moved) moved = took;
    if ((took = compute(s, few, &a)) < computed) computed = took;
  }
  restore_denormals(mode);
  /* Multiply-adds of the matrix products, a token: the padded vocabulary is not counted. */
  const double products = 12.0 * 16 * 16 + 27 * 16, steps = STEPS;
  printf("{\"batch\": %d, \"tokens\": %.2f, \"forward\": %.4f, \"backward\": %.4f, \"adam\": %.4f, "
         "\"step\": %.4f, \"floor\": {\"forward\": %.4f, \"backward\": %.4f, "
         "\"adam_moving\": %.4f, "
         "\"adam_computing\": %.4f, \"gflops\": %.1f}, \"loss\": %g}\n",
         batch, positions / steps, forward, backward - forward, whole - backward, whole,
         products * positions / steps * mul / 1e6, 2 * products * positions / steps * mul / 1e6,
         moved, computed, 2e6 / mul / 1e3, loss / steps / rounds);
  return 0;
}

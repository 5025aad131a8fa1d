/* The kernel as a program, for processors that this machine has not got (test_foreign.py).
 * In: sizes, parameters, the number of documents, and each one's length and tokens, as text.
 * Out: the gradient of the first document, the loss of a step for each, and names in bulk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../microgpt/native/kernel.h"

extern const Kernel KERNEL;
enum { NAMES = 40 };

static double number(void) {
  double x;
  if (scanf("%lf", &x) != 1) exit(2);
  return x;
}

static void *block(double bytes) { /* zeros, aligned to 64 bytes */
  const size_t size = ((size_t)bytes + 63) / 64 * 64;
  void *at = aligned_alloc(64, size);
  if (!at) exit(3);
  return memset(at, 0, size);
}

int main(void) {
  const Kernel *k = &KERNEL;
  Config c;
  c.vocab_size = (int)number(), c.n_layer = (int)number(), c.n_embd = (int)number();
  c.n_head = (int)number(), c.block_size = (int)number();
  const int n = c.n_embd, size = n * (2 * c.vocab_size + c.block_size + 12 * c.n_layer * n);
  double *flat = malloc(sizeof *flat * (size_t)size);
  for (int i = 0; i < size; i++) flat[i] = number();
  void *model = block(k->model_bytes(&c)), *work = block(k->workspace_bytes(&c)),
       *cache = block(k->cache_bytes(&c));
  k->put(&c, model, PARAMS, 1, flat);

  const uint64_t mode = k->enter();
  const int steps = (int)number();
  for (int t = 0; t < steps; t++) {
    const int length = (int)number();
    int32_t *tokens = malloc(sizeof *tokens * (size_t)length);
    for (int i = 0; i < length; i++) tokens[i] = (int32_t)number();
    const Document document = {tokens, NULL, length - 1 < c.block_size ? length - 1 : c.block_size};
    const Step step = {0.01, 0.85, 0.99, 1e-8, 0, t};
    if (t == 0) {
      k->gradient(&c, model, work, &document, 1, 1);
      k->get(&c, work, GRADIENT, 1, flat);
      for (int i = 0; i < size; i++) printf("%.17g\n", flat[i]);
    }
    printf("%.17g\n", k->train(&c, model, work, &document, 1, &step));
    free(tokens);
  }

  const Sampling how = {7, 0.8, c.vocab_size, 1, NULL, 0};
  int32_t *names = malloc(sizeof *names * NAMES * (size_t)c.block_size), lengths[NAMES];
  k->sample(&c, model, work, cache, &how, 0, NAMES, names, lengths);
  k->leave(mode);
  for (int i = 0; i < NAMES; i++) {
    printf("%d", lengths[i]);
    for (int j = 0; j < lengths[i]; j++) printf(" %d", names[i * c.block_size + j]);
    printf("\n");
  }
  return 0;
}

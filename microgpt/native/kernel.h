/* What the kernel offers: a table of functions for each vector width and precision (kernel.c is
 * compiled once for each). They know no Python, no libc, no threads, and never allocate. */
#ifndef MICROGPT_KERNEL_H
#define MICROGPT_KERNEL_H
#include <stddef.h>
#include <stdint.h>

typedef struct { /* GPTConfig */
  int32_t vocab_size, n_layer, n_embd, n_head, block_size;
} Config;

typedef struct { /* n tokens to read, each with the next one to guess: n + 1 tokens */
  const int32_t *tokens;
  const double *weights; /* (n); NULL stands for 1 / n everywhere */
  int32_t n;             /* 1 to block_size */
} Document;

typedef struct { /* one step of Adam, or AdamW */
  double lr, beta1, beta2, eps;
  double weight_decay;
  double t; /* steps taken before this one */
} Step;

typedef struct { /* sampling.py's Sampling, without its Nones */
  uint64_t seed;
  double temperature; /* 0: the likeliest */
  int32_t top_k;      /* 1 to vocab_size */
  double top_p;       /* more than 0, at most 1 */
  const int32_t *prefix;
  int32_t n_prefix;   /* less than block_size */
} Sampling;

enum Part { PARAMS, ADAM_M, ADAM_V, GRADIENT }; /* what `put` and `get` move */

#define STREAMS 16 /* names that are sampled at a time */

/* A run has diverged where -log p (nats) of a next token is above this: gpt.py's softmax then gives
 * it a probability of 0, less than float64 can hold, and on every engine the loss is infinite. */
#define MOST_LOSS 745.0

/* A model, a workspace and a cache are blocks of memory, aligned to 64 bytes, that start as zeros.
 * A workspace and a cache serve one thread at a time; no other thread may use a model while one
 * writes to it. */
typedef struct {
  const char *simd; /* "avx512", "avx2" or "portable" */
  int real_bytes;   /* 4 or 8 */

  double (*model_bytes)(const Config *);
  double (*workspace_bytes)(const Config *);
  double (*cache_bytes)(const Config *);
  int (*capacity)(const Config *); /* tokens that a workspace takes at a time: a slice of a batch */

  /* Numbers in gpt.py's order, into a model, and out of a model or, as GRADIENT, a workspace.
   * `fresh` is 1 - beta1 for ADAM_M, 1 - beta2 for ADAM_V, else 1; moments may be kept divided by
   * it. */
  void (*put)(const Config *, void *model, enum Part, double fresh, const double *);
  void (*get)(const Config *, const void *block, enum Part, double fresh, double *);
  void (*clear)(const Config *, void *work); /* sets the workspace's gradient to zero */

  /* The summed losses of a slice's documents times `share`, which is 1 / documents of the batch; in
   * `each`, unless it is NULL, -log p of every position. `gradient` adds the gradient to that in
   * the workspace. */
  double (*loss)(const Config *, const void *model, void *work, const Document *, int, double share,
                 double *each);
  double (*gradient)(const Config *, const void *model, void *work, const Document *, int,
                     double share);
  /* The loss of a batch that fits a slice, and a step; unless it is finite, nothing changes. */
  double (*train)(const Config *, void *model, void *work, const Document *, int, const Step *);
  /* A step with the sum of the gradients that `count` workspaces hold, in their order; of all the
   * weights, a part of so many, that threads may share. */
  void (*adam)(const Config *, void *model, void *const *works, int count, const Step *, int part,
               int parts);

  void (*step)(const Config *, const void *model, void *work, void *cache, int32_t token,
               int32_t position, double *logits);
  /* Names first, first + 1, ... of the seed: lengths[i] tokens, without BOS, block_size apart. */
  void (*sample)(const Config *, const void *model, void *work, void *cache, const Sampling *,
                 uint64_t first, int count, int32_t *tokens, int32_t *lengths);
  void (*inspect)(const Config *, const void *model, void *work, const int32_t *tokens, int count,
                  double *logits, double *probs, double *attention, double *residual,
                  double *hidden);

  /* Around any of these: denormals count as zero until `leave` is given what `enter` returned. */
  uint64_t (*enter)(void);
  void (*leave)(uint64_t);
} Kernel;
#endif

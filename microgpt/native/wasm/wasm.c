/* The kernel in WebAssembly: kernel.c and, around it, one float32 model for each instance.
 * `make wasm` builds it. The page's side is kernel.mjs, which checks all that goes in here and
 * counts positions and steps.
 *
 * It includes kernel.c, so that the compiler sees one program and drops what is not called. It
 * needs no libc: memory is what lies behind the program, starts as zeros, and grows. */
#define KERNEL wasm_4
#include "../kernel.c"

#define EXPORT(name) __attribute__((export_name(#name)))
#define MOST 4e9 /* bytes: addresses have 32 bits */

extern unsigned char __heap_base; /* where the program's own memory ends */

static Config config;
static double beta1, beta2, eps, weight_decay;
static void *model, *work, *cache;

/* Have the memory reach up to the address `end`; return whether it does. */
EXPORT(reach) int reach(double end) {
  const double page = 65536, missing = end - page * (double)__builtin_wasm_memory_size(0);
  if (missing <= 0) return 1;
  return end < MOST && __builtin_wasm_memory_grow(0, (size_t)(missing / page) + 1) != (size_t)-1;
}

/* Above the bytes of a model with workspace and cache; unlike sizes, not computed in 32 bits. */
static double bound(void) {
  const double n = config.n_embd + 15.0, V = config.vocab_size + 15.0,
               T = config.block_size + 256.0;
  const double L = config.n_layer;
  const double attn = 2 * n; /* rows are padded to lines, heads to powers of two */
  const double params = (2 * V + T) * n + L * (4 * attn * n + 8 * n * n);
  const double layer = 6 * n + 5 * attn + T * attn / 2;
  return REAL_BYTES *
         (5 * params + T * (V + 8 * n + 5 * attn + 64 + L * layer) + 2 * L * STREAMS * T * attn);
}

/* Make the model, all zeros; return the address behind it, from where on memory is the page's to
 * pass things in and out, or 0 if it does not fit. */
EXPORT(create) uintptr_t create(int vocab_size, int n_layer, int n_embd, int n_head, int block_size,
                                double b1, double b2, double e, double decay) {
  config = (Config){vocab_size, n_layer, n_embd, n_head, block_size};
  beta1 = b1, beta2 = b2, eps = e, weight_decay = decay;
  const uintptr_t start = ((uintptr_t)&__heap_base + 63) / 64 * 64;
  if (bound() > MOST) return 0;
  model = (void *)start;
  work = (char *)model + (size_t)model_bytes(&config); /* whole lines, all three */
  cache = (char *)work + (size_t)workspace_bytes(&config);
  const uintptr_t end = (uintptr_t)cache + (size_t)cache_bytes(&config);
  return reach((double)end) ? end : 0;
}

static double fresh(enum Part part) {
  return part == ADAM_M ? 1 - beta1 : part == ADAM_V ? 1 - beta2 : 1;
}
EXPORT(put) void put_part(enum Part part, const double *flat) {
  put(&config, model, part, fresh(part), flat);
}
EXPORT(get) void get_part(enum Part part, double *flat) {
  get(&config, part == GRADIENT ? work : model, part, fresh(part), flat);
}

/* How many documents of a batch the workspace takes at a time. */
static int slice(const Document *docs, int count) {
  int to = 0;
  for (int T = 0; to < count && T + docs[to].n <= capacity(&config); to++) T += docs[to].n;
  return to;
}

/* The loss of a batch, and in `each` -log p of every position. */
EXPORT(loss) double loss_of(const Document *docs, int count, double *each) {
  double sum = 0;
  for (int at = 0, n; at < count; at += n) {
    n = slice(docs + at, count - at);
    sum += measure(&config, model, work, docs + at, n, 1.0 / count, each);
    each += rows_of(docs + at, n);
  }
  return sum;
}
EXPORT(gradient) double gradient_of(const Document *docs, int count) { /* `get` then gives it */
  double sum = 0;
  clear(&config, work);
  for (int at = 0, n; at < count; at += n) {
    n = slice(docs + at, count - at);
    sum += gradient(&config, model, work, docs + at, n, 1.0 / count);
  }
  return sum;
}

/* A step of Adam, after t others; if the loss is not finite, nothing changes. */
EXPORT(train) double train_on(const Document *docs, int count, double lr, double t) {
  const Step step = {lr, beta1, beta2, eps, weight_decay, t};
  if (rows_of(docs, count) <= capacity(&config))
    return train(&config, model, work, docs, count, &step);
  const double mean = gradient_of(docs, count);
  if (mean - mean == 0) adam_step(&config, model, &work, 1, &step, 0, 1);
  return mean;
}

EXPORT(step) void step_on(int32_t token, int32_t position, double *logits) {
  step(&config, model, work, cache, token, position, logits);
}
EXPORT(sample)
void sample_from(uint64_t first, int count, uint64_t seed, double temperature, int32_t top_k,
                 double top_p, const int32_t *prefix, int32_t n_prefix, int32_t *tokens,
                 int32_t *lengths) {
  const Sampling how = {seed, temperature, top_k, top_p, prefix, n_prefix};
  sample(&config, model, work, cache, &how, first, count, tokens, lengths);
}
EXPORT(inspect) void inspect_in(const int32_t *tokens, int count, double *logits, double *probs,
                                double *attention, double *residual, double *hidden) {
  inspect(&config, model, work, tokens, count, logits, probs, attention, residual, hidden);
}

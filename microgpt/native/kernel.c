/* gpt.py in C: the same functions by the same names, in the same order. What differs is efficiency.
 *
 * - A vector holds many numbers, and all tokens of many documents go through each function at once:
 *   T is their number, and a matrix (T, n) has a row a token.
 * - There is no autograd. Each step's derivative is written out below, last step first; a gradient
 *   is named after what it belongs to, with a d before it: dx is d loss / d x.
 * - Where there is one slice to a batch, the gradient of a weight lives in a register only, from
 *   where it goes into Adam.
 * - Rows are padded with zeros to whole cache lines. Each weight matrix w (outputs, inputs) has a
 *   transposed copy (inputs, outputs), because the forward pass reads it along the outputs and the
 *   backward pass along the inputs.
 *
 * Compiled once for each vector width and precision (-DREAL_BYTES=4 or 8). What the published model
 * gains from sizes known in advance it gets from the compiler: see FOR_SIZES at the end.
 */
#include "kernel.h"
#include "simd.h"

typedef ptrdiff_t size; /* an index or a number of reals */

#define NOINLINE static __attribute__((noinline))

/* ---- Sizes: where everything lies ------------------------------------------------------------ */
typedef struct {
  int vocab_size, n_layer, n_embd, n_head, block_size;
  int head;                      /* reals for a head: head_dim, padded so that it tiles lines */
  int embd, attn, hidden, vocab; /* widths of rows, in whole lines; attn: of all heads together */

  /* A model is 4 blocks alike: parameters, adam.m, adam.v, transposed copies; in each, from 0: */
  size wte;     /* (vocab_size, embd) */
  size wpe;     /* (block_size, embd) */
  size lm_head; /* (vocab, embd) */
  size layers;  /* layer i at layers + i * layer, and there: */
  size attn_wo; /* (embd, attn); before it attn_wq, wk, wv as one, (3 attn, embd) */
  size mlp_fc1; /* (hidden, embd) */
  size mlp_fc2; /* (embd, hidden) */
  size layer;
  size params;  /* the size of a block */

  /* A workspace is a gradient (like a block), and what a slice of up to `tokens` leaves behind: */
  int tokens;
  int part, parts;   /* attention works on parts of a row: a head, or a vector of several heads */
  size token_id;     /* (T) int32_t; so are position and start, the document's first row */
  size position;
  size start;
  size share;        /* (T) the position's weight in the loss */
  size largest;      /* (T) logit of the target less the largest logit */
  size total;        /* (T) sum of exp(logit - largest) */
  size scale0;       /* (T) the first rmsnorm's scale */
  size x;            /* (n_layer + 1, T, embd) the residual stream */
  size logits;       /* (T, vocab), then their gradient */
  size seen;         /* layer i at seen + i * layer_seen, and there: */
  size h1;           /* (T, embd) rmsnorm(x), and its scale (T) */
  size scale1;
  size qkv;          /* (T, 3 attn) queries, keys, values */
  size weights;      /* (pairs of tokens, parts, LANES) softmax of the scores */
  size mix;          /* (T, attn) */
  size h2;           /* (T, embd) rmsnorm of x in mid-layer, and its scale (T) */
  size scale2;
  size units;        /* (T, hidden) the MLP's units after their ReLU */
  size layer_seen;
  size dx, dh;       /* (T, embd) */
  size dunits;       /* (T, hidden) */
  size dqkv;         /* (T, 3 attn) */
  size dmix;         /* (T, attn) */
  size work;
} Sizes;

INLINE int whole(int n, int of) { return (n + of - 1) / of * of; }
INLINE size take(size *end, size count) { /* reserve `count` reals, to whole lines */
  size at = *end;
  *end += (count + LINE - 1) / LINE * LINE;
  return at;
}

COPIED Sizes sizes(const Config c) {
  Sizes s = {.vocab_size = c.vocab_size, .n_layer = c.n_layer, .n_embd = c.n_embd,
             .n_head = c.n_head, .block_size = c.block_size};
  int head_dim = c.n_embd / c.n_head;
  s.head = 1;
  while (s.head < head_dim && s.head < LINE) s.head *= 2;
  if (head_dim > LINE) s.head = whole(head_dim, LINE);
  s.embd = whole(c.n_embd, LINE);
  s.attn = whole(c.n_head * s.head, LINE);
  s.hidden = whole(4 * c.n_embd, LINE);
  s.vocab = whole(c.vocab_size, LINE);

  size end = 0;
  s.wte = take(&end, (size)c.vocab_size * s.embd);
  s.wpe = take(&end, (size)c.block_size * s.embd);
  s.lm_head = take(&end, (size)s.vocab * s.embd);
  s.layers = end, end = 0;
  take(&end, (size)3 * s.attn * s.embd);
  s.attn_wo = take(&end, (size)s.embd * s.attn);
  s.mlp_fc1 = take(&end, (size)s.hidden * s.embd);
  s.mlp_fc2 = take(&end, (size)s.embd * s.hidden);
  s.layer = end;
  s.params = s.layers + s.n_layer * s.layer;

  int T = s.tokens = whole(c.block_size < 256 ? 256 : c.block_size, 16);
  s.part = s.head < LANES ? LANES : s.head;
  s.parts = s.attn / s.part;
  end = s.params;
  s.token_id = take(&end, T);
  s.position = take(&end, T);
  s.start = take(&end, T);
  s.share = take(&end, T);
  s.largest = take(&end, T);
  s.total = take(&end, T);
  s.scale0 = take(&end, T);
  s.x = take(&end, (size)(c.n_layer + 1) * T * s.embd);
  s.logits = take(&end, (size)T * s.vocab);
  s.dx = take(&end, (size)T * s.embd);
  s.dh = take(&end, (size)T * s.embd);
  s.dunits = take(&end, (size)T * s.hidden);
  s.dqkv = take(&end, (size)T * 3 * s.attn);
  s.dmix = take(&end, (size)T * s.attn);
  s.seen = end, end = 0;
  s.h1 = take(&end, (size)T * s.embd);
  s.scale1 = take(&end, T);
  s.qkv = take(&end, (size)T * 3 * s.attn);
  s.weights = take(&end, (size)T * (c.block_size + 1) / 2 * s.parts * LANES);
  s.mix = take(&end, (size)T * s.attn);
  s.h2 = take(&end, (size)T * s.embd);
  s.scale2 = take(&end, T);
  s.units = take(&end, (size)T * s.hidden);
  s.layer_seen = end;
  s.work = s.seen + s.n_layer * s.layer_seen;
  return s;
}

/* A function that is compiled twice, from one source: for any sizes, and for those of the published
 * model, which the compiler then knows. (Not for float64, which is there to be exact.) */
#define PUBLISHED \
  ((Config){.vocab_size = 27, .n_layer = 1, .n_embd = 16, .n_head = 4, .block_size = 16})
INLINE int is_published(const Config *c) {
  return SPECIAL && REAL_BYTES == 4 && c->vocab_size == PUBLISHED.vocab_size &&
         c->n_layer == PUBLISHED.n_layer && c->n_embd == PUBLISHED.n_embd &&
         c->n_head == PUBLISHED.n_head && c->block_size == PUBLISHED.block_size;
}
#define TWICE(name, parameters, arguments, call)                                        \
  NOINLINE void name##_any parameters {                                                 \
    const Sizes s = sizes(*c);                                                          \
    call;                                                                               \
  }                                                                                     \
  NOINLINE void name##_published parameters {                                           \
    const Sizes s = sizes(PUBLISHED);                                                   \
    (void)c;                                                                            \
    call;                                                                               \
  }                                                                                     \
  INLINE void name parameters {                                                         \
    is_published(c) ? name##_published arguments : name##_any arguments;                \
  }

/* ---- Matrix products ------------------------------------------------------------------------- */
typedef struct {
  real *at;
  size stride;
} Rows;

INLINE Rows rows(const real *at, size stride) { return (Rows){(real *)at, stride}; }

/* What becomes of a sum, given the element of `other` in its place: */
typedef enum { PLAIN, ADD /* it is added */, RELU, GATE /* 0 unless it is positive */ } Finish;

/* A tile keeps its sums in registers: ROWS rows of up to PANEL lines. */
#if VECTOR_BYTES == 64 /* 16 sums of 32 registers: 4 rows of 4 lines of 1 vector */
#define ROWS 4
#define PANEL 4
#elif VECTOR_BYTES == 32 /* 8 of 16: 4 rows of a line of 2 */
#define ROWS 4
#define PANEL 1
#elif defined(__aarch64__) /* 16 of 32: 4 rows of a line of 4 */
#define ROWS 4
#define PANEL 1
#else /* 8 of 16: 2 rows of a line of 4 */
#define ROWS 2
#define PANEL 1
#endif
#define VECTORS (LINE / LANES) /* in a line */

/* A tile of y (R rows, C vectors) = x (R, depth) w (depth, C vectors). */
INLINE void tile(const int R, const int C, Rows y, Rows x, Rows w, int depth, Finish finish,
                 const real *other) {
  V sum[8][PANEL * VECTORS];
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int c = 0; c < C; c++) sum[r][c] = (V){0};
  UNROLL4 for (int i = 0; i < depth; i++) {
    V wi[PANEL * VECTORS];
    UNROLL for (int c = 0; c < C; c++) wi[c] = load(w.at + i * w.stride + c * LANES);
    UNROLL for (int r = 0; r < R; r++) {
      real xi = x.at[r * x.stride + i];
      UNROLL for (int c = 0; c < C; c++) sum[r][c] += xi * wi[c];
    }
  }
  UNROLL for (int r = 0; r < R; r++) UNROLL for (int c = 0; c < C; c++) {
    size at = r * y.stride + c * LANES;
    V z = sum[r][c];
    if (finish == ADD) z += load(other + at);
    if (finish == RELU) z = max(z, (V){0});
    if (finish == GATE) z = keep(z, load(other + at) > 0);
    store(y.at + at, z);
  }
}

/* A panel of y (T rows, some lines). The last tile has half as many rows where that is enough; rows
 * past T are computed too, and never read. */
INLINE void panel(const int lines, int T, Rows y, Rows x, Rows w, int depth, Finish finish,
                  const real *other) {
  const int C = lines * VECTORS, R = C == 1 ? 2 * ROWS : ROWS; /* sums enough to keep units busy */
#define TILE(R)                                                                        \
  tile(R, C, rows(y.at + t * y.stride, y.stride), rows(x.at + t * x.stride, x.stride), w, depth, \
       finish, other + t * y.stride)
  int t = 0;
  for (; T - t > R / 2; t += R) TILE(R);
  if (t < T) TILE(R / 2);
}

/* y (T, width) = x (T, depth) w (depth, width); `other` is laid out like y. */
COPIED void product(Rows y, Rows x, Rows w, int T, int depth, int width, Finish finish,
                    const real *other) {
  int j = 0;
#define FROM_J rows(y.at + j, y.stride), x, rows(w.at + j, w.stride), depth, finish, other + j
  for (; j + PANEL * LINE <= width; j += PANEL * LINE) panel(PANEL, T, FROM_J);
  switch ((width - j) / LINE) {
#if PANEL > 1
    case 1: panel(1, T, FROM_J); break;
    case 2: panel(2, T, FROM_J); break;
    case 3: panel(3, T, FROM_J); break;
#endif
    default: break;
  }
}

/* ---- Forward --------------------------------------------------------------------------------- */
INLINE void rmsnorm(Rows y, real *scale, Rows x, int T, const Sizes s) {
  for (int t = 0; t < T; t++) {
    V squares = {0};
    for (int i = 0; i < s.embd; i += LANES) {
      V xi = load(x.at + t * x.stride + i);
      squares += xi * xi;
    }
    V by = reciprocal_root(sum_of(squares, LANES) * ((real)1 / (real)s.n_embd) + (real)1e-5);
    scale[t] = by[0];
    for (int i = 0; i < s.embd; i += LANES)
      store(y.at + t * y.stride + i, by * load(x.at + t * x.stride + i));
  }
}

/* Mix the values of the `count` tokens so far, each as much as its key fits the query q (attn),
 * which comes divided by sqrt(head_dim). A vector of scores has a score for each of its heads, in
 * every lane of that head; so has the vector of weights (count, parts) that is kept. */
INLINE void attention(real *mix, real *weights, const real *q, Rows keys, Rows values, int count,
                      const Sizes s) {
  const int vectors = s.part / LANES;
  for (int p = 0; p < s.parts; p++) {
    const size of_part = (size)p * s.part;
    V largest = all((real)-1e30);
    for (int i = 0; i < count; i++) {
      V score = {0};
      for (int j = 0; j < vectors; j++)
        score +=
            load(q + of_part + j * LANES) * load(keys.at + i * keys.stride + of_part + j * LANES);
      score = sum_of(score, s.head);
      largest = max(largest, score);
      store(weights + ((size)i * s.parts + p) * LANES, score);
    }
    V total = {0};
    for (int i = 0; i < count; i++) {
      V weight = exp_(load(weights + ((size)i * s.parts + p) * LANES) - largest);
      total += weight;
      store(weights + ((size)i * s.parts + p) * LANES, weight);
    }
    V by = 1 / total;
    for (int j = 0; j < vectors; j++) {
      const size at = of_part + j * LANES;
      V sum = {0};
      for (int i = 0; i < count; i++) {
        V weight = load(weights + ((size)i * s.parts + p) * LANES);
        if (j == 0) store(weights + ((size)i * s.parts + p) * LANES, weight *= by);
        sum += weight * load(values.at + i * values.stride + at);
      }
      store(mix + at, sum);
    }
  }
}

INLINE real root_of(real x) { return root(all(x))[0]; }

/* The logits (T, vocab) of the tokens in the workspace. Keys and values are those of the document's
 * rows, or with a cache those of the row's stream there: (n_layer, STREAMS, block_size, 2 attn). */
INLINE void gpt_with(const Sizes s, const real *model, real *work, int T, real *cache) {
  const real *transposed = model + 3 * s.params;
  const int32_t *token_id = (int32_t *)(work + s.token_id);
  const int32_t *position = (int32_t *)(work + s.position);
  real *x = work + s.x;                                                           /* (T, embd) */
  for (int t = 0; t < T; t++)
    for (int i = 0; i < s.embd; i += LANES)
      store(x + (size)t * s.embd + i, load(model + s.wte + (size)token_id[t] * s.embd + i) +
                                          load(model + s.wpe + (size)position[t] * s.embd + i));
  rmsnorm(rows(x, s.embd), work + s.scale0, rows(x, s.embd), T, s);
  const real by = 1 / root_of((real)(s.n_embd / s.n_head));
  for (int layer = 0; layer < s.n_layer; layer++) {
    const real *w = transposed + s.layers + layer * s.layer;
    real *seen = work + s.seen + layer * s.layer_seen;
    real *h1 = seen + s.h1, *qkv = seen + s.qkv, *mix = seen + s.mix;
    real *h2 = seen + s.h2, *units = seen + s.units, *weights = seen + s.weights;
    real *next = x + (size)s.tokens * s.embd;

    rmsnorm(rows(h1, s.embd), seen + s.scale1, rows(x, s.embd), T, s);
    product(rows(qkv, 3 * s.attn), rows(h1, s.embd), rows(w, 3 * s.attn), T, s.n_embd, 3 * s.attn,
            PLAIN, h1);                                                           /* (T, 3 attn) */
    for (int t = 0; t < T; t++) {
      real *q = qkv + (size)t * 3 * s.attn;
      for (int i = 0; i < s.attn; i += LANES) store(q + i, by * load(q + i));
      const int count = position[t] + 1;
      Rows keys = rows(q - (size)position[t] * 3 * s.attn + s.attn, 3 * s.attn);
      if (cache) {
        keys = rows(cache + ((size)layer * STREAMS + t) * s.block_size * 2 * s.attn, 2 * s.attn);
        for (int i = 0; i < 2 * s.attn; i += LANES)
          store(keys.at + (size)position[t] * 2 * s.attn + i, load(q + s.attn + i));
      }
      attention(mix + (size)t * s.attn, weights, q, keys, rows(keys.at + s.attn, keys.stride),
                count, s);
      if (!cache) weights += (size)count * s.parts * LANES;
    }
    product(rows(next, s.embd), rows(mix, s.attn), rows(w + s.attn_wo, s.embd), T, s.attn, s.embd,
            ADD, x);                                                              /* (T, embd) */
    rmsnorm(rows(h2, s.embd), seen + s.scale2, rows(next, s.embd), T, s);
    product(rows(units, s.hidden), rows(h2, s.embd), rows(w + s.mlp_fc1, s.hidden), T, s.n_embd,
            s.hidden, RELU, h2);                                                  /* (T, hidden) */
    product(rows(next, s.embd), rows(units, s.hidden), rows(w + s.mlp_fc2, s.embd), T, 4 * s.n_embd,
            s.embd, ADD, next);                                                   /* (T, embd) */
    x = next;
  }
  product(rows(work + s.logits, s.vocab), rows(x, s.embd), rows(transposed + s.lm_head, s.vocab), T,
          s.n_embd, s.vocab, PLAIN, x);                                           /* (T, vocab) */
}
TWICE(gpt, (const Config *c, const real *model, real *work, int T, real *cache),
      (c, model, work, T, cache), gpt_with(s, model, work, T, cache))

/* The lanes of the vector at i that hold one of n numbers, as a mask. */
INLINE I held(int i, int n) {
  I lane;
  UNROLL for (int l = 0; l < LANES; l++) lane[l] = i + l;
  return lane < n;
}

/* Turn a row of logits (vocab) into exp((logit - largest) / temperature); return their sum. */
INLINE V exps_of(real *row, V *largest, V heat, const Sizes s) {
  V most = all((real)-1e30), total = {0};
  for (int i = 0; i < s.vocab; i += LANES) {
    V z = load(row + i); /* past the vocabulary: a logit that is there already, to change nothing */
    if (i + LANES > s.vocab_size)
      z = keep(z, held(i, s.vocab_size)) + keep(all((real)-1e30), held(i, s.vocab_size) == 0);
    most = max(most, z);
  }
  *largest = max_of(most);
  for (int i = 0; i < s.vocab; i += LANES) {
    V e = exp_((load(row + i) - *largest) * heat);
    if (i + LANES > s.vocab_size) e = keep(e, held(i, s.vocab_size));
    total += e;
    store(row + i, e);
  }
  return sum_of(total, LANES);
}

/* The documents' summed losses, of which the batch takes `share`; leaves in the place of the logits
 * their gradient: weight * (probability - 1 for the target). */
INLINE void loss_with(const Sizes s, real *work, const Document *docs, int count, double share,
                      double *result) {
  real *largest = work + s.largest, *total = work + s.total;
  int t = 0;
  for (int d = 0; d < count; d++) {
    const double mean = share / docs[d].n;
    for (int i = 0; i < docs[d].n; i++, t++) {
      real *row = work + s.logits + (size)t * s.vocab;
      const double weight = docs[d].weights ? share * docs[d].weights[i] : mean;
      const int target = docs[d].tokens[i + 1];
      const real z = row[target];
      V most, sum = exps_of(row, &most, all(1), s);
      total[t] = sum[0];
      largest[t] = z - most[0];
      V by = (real)weight / sum;
      for (int j = 0; j < s.vocab; j += LANES) store(row + j, by * load(row + j));
      row[target] -= (real)weight;
    }
  }
  for (int i = 0; i < t; i += LANES) /* -log p = log(sum of exps) - (logit - largest) */
    store(total + i, log_(load(total + i)) - load(largest + i));
  double sum = 0, worst = 0;
  t = 0;
  for (int d = 0; d < count; d++) {
    double of_document = 0;
    for (int i = 0; i < docs[d].n; i++, t++) {
      const double surprise = total[t];
      worst = surprise > worst ? surprise : worst;
      of_document += docs[d].weights ? docs[d].weights[i] * surprise : surprise;
    }
    sum += docs[d].weights ? of_document : of_document / docs[d].n;
  }
  *result = worst > MOST_LOSS ? __builtin_inf() : share * sum;
}
TWICE(loss,
      (const Config *c, real *work, const Document *docs, int count, double share, double *result),
      (c, work, docs, count, share, result), loss_with(s, work, docs, count, share, result))

/* ---- Adam ------------------------------------------------------------------------------------ */
/* In float32 the moments are kept divided by 1 - beta, which saves two products a weight; float64
 * keeps them as they are, so that they go in and out unchanged. */
INLINE double kept(double fresh) { return REAL_BYTES == 4 ? fresh : 1; }

typedef struct {
  V beta1, fresh1, beta2, fresh2, rate, eps;
  V left; /* what weight decay leaves of a weight */
} Adam;

INLINE double power(double x, double n) {
  double y = 1;
  for (uint64_t k = (uint64_t)n; k; k >>= 1, x *= x) y *= k & 1 ? x : 1;
  return y;
}

/* lr m m_scale / (sqrt(v v_scale) + eps) = rate m / (sqrt(v) + eps'): all that is the same for
 * every weight goes into rate and eps'. */
INLINE Adam adam_of(const Step *step) {
  const double fresh1 = 1 - step->beta1, fresh2 = 1 - step->beta2;
  const double m_scale = kept(fresh1) / (1 - power(step->beta1, step->t + 1));
  const double v_root = __builtin_sqrt(kept(fresh2) / (1 - power(step->beta2, step->t + 1)));
  return (Adam){all((real)step->beta1), all((real)(fresh1 / kept(fresh1))),
                all((real)step->beta2), all((real)(fresh2 / kept(fresh2))),
                all((real)(step->lr * m_scale / v_root)), all((real)(step->eps / v_root)),
                all((real)(1 - step->lr * step->weight_decay))};
}

/* Whether the weights decay is known where this is inlined: where they do not, it costs nothing. */
typedef enum { KEEP, DECAY } Decay;


/* A step for one vector of weights, at `at` in a model, with the gradient g; returns the weights.
 * Every other root comes from an estimate, and keeps the multipliers busy while the slow unit for
 * roots is at work on its neighbour. */
INLINE V adam(const Sizes s, real *at, V g, const Adam *a, int number, const Decay decay) {
  const real tiny = REAL_BYTES == 4 ? (real)1e-30 : 0; /* the estimate of 1 / sqrt(0) is infinite */
  V fresh_m = g, fresh_v = g;
  if (REAL_BYTES == 8) fresh_m = a->fresh1 * g, fresh_v = a->fresh2 * g;
  V m = flush(a->beta1 * load(at + s.params) + fresh_m);
  V v = a->beta2 * load(at + 2 * s.params) + (fresh_v * g + tiny);
  V d = (number % 2 ? root(v) : quick_root(v)) + a->eps;
  V p = load(at);
  if (decay) p *= a->left;
  p -= a->rate * m * reciprocal(d);
  store(at + s.params, m);
  store(at + 2 * s.params, v);
  store(at, p);
  return p;
}

/* A step for the tile of LANES outputs, one vector of inputs each, at (o, i) of the matrix w. */
INLINE void adam_tile(const Sizes s, real *model, size w, int o, int i, int outputs, int inputs,
                      V g[LANES], const Adam *a, const Decay decay) {
  UNROLL for (int r = 0; r < LANES; r++)
    g[r] = adam(s, model + w + (size)(o + r) * inputs + i, g[r], a, r, decay);
  transpose(g);
  real *transposed = model + 3 * s.params + w + (size)i * outputs + o;
  UNROLL for (int r = 0; r < LANES; r++) store(transposed + (size)r * outputs, g[r]);
}

/* ---- Backward -------------------------------------------------------------------------------- */
/* What the backward pass does with the gradient of a weight: */
typedef struct {
  real *model;    /* a step of Adam at once, if `adam` is there */
  real *gradient; /* else it is added here */
  const Adam *adam;
} Learner;

/* y = w x: dw[o][i] = sum over tokens of dy[t][o] x[t][i], in tiles that stay in registers. */
COPIED void learn(const Sizes s, Learner to, size w, int outputs, int inputs, Rows dy, Rows x,
                  int T) {
  enum { WIDE = LANES < 8 ? 8 / LANES : 1 }; /* sums enough to keep the multipliers busy */
  for (int o = 0; o < outputs; o += LANES)
    for (int i = 0; i < inputs; i += WIDE * LANES) {
      V g[WIDE][LANES];
      UNROLL for (int k = 0; k < WIDE; k++) UNROLL for (int r = 0; r < LANES; r++) g[k][r] = (V){0};
      for (int t = 0; t < T; t++) {
        V xt[WIDE];
        UNROLL for (int k = 0; k < WIDE; k++) xt[k] = load(x.at + t * x.stride + i + k * LANES);
        UNROLL for (int r = 0; r < LANES; r++) {
          real d = dy.at[t * dy.stride + o + r];
          UNROLL for (int k = 0; k < WIDE; k++) g[k][r] += d * xt[k];
        }
      }
      UNROLL for (int k = 0; k < WIDE; k++) {
        if (to.adam) {
          adam_tile(s, to.model, w, o, i + k * LANES, outputs, inputs, g[k], to.adam, KEEP);
        } else {
          real *sum = to.gradient + w + (size)o * inputs + i + k * LANES;
          UNROLL for (int r = 0; r < LANES; r++)
            store(sum + (size)r * inputs, load(sum + (size)r * inputs) + g[k][r]);
        }
      }
    }
}

/* y = x scale, scale = (mean(x x) + 1e-5)^-1/2: dx = scale (dy - y mean(dy y)), plus `other`. */
INLINE void rmsnorm_backward(real *dx, const real *dy, const real *y, const real *scale, int T,
                             const real *other, const Sizes s) {
  for (int t = 0; t < T; t++) {
    const size row = (size)t * s.embd;
    V dot = {0};
    for (int i = 0; i < s.embd; i += LANES) dot += load(dy + row + i) * load(y + row + i);
    dot = sum_of(dot, LANES) * ((real)1 / (real)s.n_embd);
    for (int i = 0; i < s.embd; i += LANES) {
      V d = scale[t] * (load(dy + row + i) - dot * load(y + row + i));
      if (other) d += load(other + row + i);
      store(dx + row + i, d);
    }
  }
}

/* mix = sum of weight[i] value[i], weight = softmax(score), score[i] = q key[i]:
 * dvalue[i] += weight[i] dmix; dscore[i] = weight[i] (dmix value[i] - dmix mix);
 * dq = sum of dscore[i] key[i]; dkey[i] += dscore[i] q. */
INLINE void attention_backward(real *restrict dq, Rows dkeys, Rows dvalues, const real *dmix,
                               const real *mix, const real *weights, const real *q, Rows keys,
                               Rows values, int count, const Sizes s) {
  const int vectors = s.part / LANES;
  for (int p = 0; p < s.parts; p++) {
    const size of_part = (size)p * s.part;
    V mean = {0};
    for (int j = 0; j < vectors; j++) {
      const size at = of_part + j * LANES;
      mean += load(dmix + at) * load(mix + at);
      store(dq + at, (V){0});
    }
    mean = sum_of(mean, s.head);
    for (int i = 0; i < count; i++) {
      V weight = load(weights + ((size)i * s.parts + p) * LANES), dscore = {0};
      for (int j = 0; j < vectors; j++) {
        const size at = of_part + j * LANES;
        dscore += load(dmix + at) * load(values.at + i * values.stride + at);
      }
      dscore = weight * (sum_of(dscore, s.head) - mean);
      for (int j = 0; j < vectors; j++) {
        const size at = of_part + j * LANES;
        real *dkey = dkeys.at + i * dkeys.stride + at,
             *dvalue = dvalues.at + i * dvalues.stride + at;
        store(dvalue, load(dvalue) + weight * load(dmix + at));
        store(dkey, load(dkey) + dscore * load(q + at));
        store(dq + at, load(dq + at) + dscore * load(keys.at + i * keys.stride + at));
      }
    }
  }
}

/* The MLP of a layer; dx is the gradient of what it is added to, and in the end of its input. */
INLINE void mlp_backward(const Sizes s, const real *model, real *work, int layer, int T,
                         Learner to) {
  const size at = s.layers + layer * s.layer;
  real *seen = work + s.seen + layer * s.layer_seen, *h2 = seen + s.h2, *units = seen + s.units;
  real *dx = work + s.dx, *dh = work + s.dh, *dunits = work + s.dunits;
  product(rows(dunits, s.hidden), rows(dx, s.embd), rows(model + at + s.mlp_fc2, s.hidden), T,
          s.n_embd, s.hidden, GATE, units);
  learn(s, to, at + s.mlp_fc2, s.embd, s.hidden, rows(dx, s.embd), rows(units, s.hidden), T);
  product(rows(dh, s.embd), rows(dunits, s.hidden), rows(model + at + s.mlp_fc1, s.embd), T,
          4 * s.n_embd, s.embd, PLAIN, dh);
  learn(s, to, at + s.mlp_fc1, s.hidden, s.embd, rows(dunits, s.hidden), rows(h2, s.embd), T);
  rmsnorm_backward(dx, dh, h2, seen + s.scale2, T, dx, s);
}

/* The same for the layer's attention. */
INLINE void mix_backward(const Sizes s, const real *model, real *work, int layer, int T,
                         Learner to) {
  const int32_t *position = (int32_t *)(work + s.position);
  const real by = 1 / root_of((real)(s.n_embd / s.n_head));
  const size at = s.layers + layer * s.layer;
  real *seen = work + s.seen + layer * s.layer_seen;
  real *h1 = seen + s.h1, *qkv = seen + s.qkv, *mix = seen + s.mix, *weights = seen + s.weights;
  real *dx = work + s.dx, *dh = work + s.dh, *dqkv = work + s.dqkv, *dmix = work + s.dmix;
  product(rows(dmix, s.attn), rows(dx, s.embd), rows(model + at + s.attn_wo, s.attn), T, s.n_embd,
          s.attn, PLAIN, dmix);
  learn(s, to, at + s.attn_wo, s.embd, s.attn, rows(dx, s.embd), rows(mix, s.attn), T);
  for (size i = 0; i < (size)T * 3 * s.attn; i += LANES) store(dqkv + i, (V){0});
  for (int t = 0; t < T; t++) {
    const int count = position[t] + 1;
    const size q = (size)t * 3 * s.attn, first = q - (size)position[t] * 3 * s.attn;
    attention_backward(dqkv + q, rows(dqkv + first + s.attn, 3 * s.attn),
                       rows(dqkv + first + 2 * s.attn, 3 * s.attn), dmix + (size)t * s.attn,
                       mix + (size)t * s.attn, weights, qkv + q,
                       rows(qkv + first + s.attn, 3 * s.attn),
                       rows(qkv + first + 2 * s.attn, 3 * s.attn), count, s);
    for (int i = 0; i < s.attn; i += LANES) store(dqkv + q + i, by * load(dqkv + q + i));
    weights += (size)count * s.parts * LANES;
  }
  product(rows(dh, s.embd), rows(dqkv, 3 * s.attn), rows(model + at, s.embd), T, 3 * s.attn, s.embd,
          PLAIN, dh);
  learn(s, to, at, 3 * s.attn, s.embd, rows(dqkv, 3 * s.attn), rows(h1, s.embd), T);
  rmsnorm_backward(dx, dh, h1, seen + s.scale1, T, dx, s);
}

/* The embeddings: tokens may have a row in common, so their gradient is added up in memory. */
INLINE void embedding_backward(const Sizes s, real *work, int T, Learner to) {
  const int32_t *token_id = (int32_t *)(work + s.token_id);
  const int32_t *position = (int32_t *)(work + s.position);
  const real *dx = work + s.dx;
  if (to.adam)
    for (size i = s.wte; i < s.lm_head; i += LANES) store(to.gradient + i, (V){0});
  for (int t = 0; t < T; t++)
    for (int i = 0; i < s.embd; i += LANES) {
      V d = load(dx + (size)t * s.embd + i);
      real *te = to.gradient + s.wte + (size)token_id[t] * s.embd + i;
      real *pe = to.gradient + s.wpe + (size)position[t] * s.embd + i;
      store(te, load(te) + d);
      store(pe, load(pe) + d);
    }
  if (to.adam)
    for (size i = s.wte; i < s.lm_head; i += LANES)
      adam(s, to.model + i, load(to.gradient + i), to.adam, (int)(i / LANES), KEEP);
}

/* From the gradient of the logits down to that of every weight. */
INLINE void backward_with(const Sizes s, const real *model, real *work, int T, Learner to) {
  real *dx = work + s.dx, *x = work + s.x;
  const Rows dlogits = rows(work + s.logits, s.vocab);
  product(rows(dx, s.embd), dlogits, rows(model + s.lm_head, s.embd), T, s.vocab_size, s.embd,
          PLAIN, dx);
  learn(s, to, s.lm_head, s.vocab, s.embd, dlogits,
        rows(x + (size)s.n_layer * s.tokens * s.embd, s.embd), T);
  for (int layer = s.n_layer - 1; layer >= 0; layer--) {
    mlp_backward(s, model, work, layer, T, to);
    mix_backward(s, model, work, layer, T, to);
  }
  rmsnorm_backward(dx, dx, x, work + s.scale0, T, (real *)0, s);
  embedding_backward(s, work, T, to);
}
TWICE(backward, (const Config *c, const real *model, real *work, int T, Learner to),
      (c, model, work, T, to), backward_with(s, model, work, T, to))

/* ---- Training: a slice of a batch, or the whole of it ---------------------------------------- */
static int rows_of(const Document *docs, int count) {
  int T = 0;
  for (int d = 0; d < count; d++) T += docs[d].n;
  return T;
}

static void clear(const Config *c, void *work) { /* the gradient in a workspace */
  const Sizes s = sizes(*c);
  for (size i = 0; i < s.params; i += LANES) store((real *)work + i, (V){0});
}

static int read(const Config *c, real *work, const Document *docs, int count) {
  const Sizes s = sizes(*c);
  int32_t *token_id = (int32_t *)(work + s.token_id), *position = (int32_t *)(work + s.position);
  int T = 0;
  for (int d = 0; d < count; d++)
    for (int i = 0; i < docs[d].n; i++, T++) token_id[T] = docs[d].tokens[i], position[T] = i;
  return T;
}

static double measure(const Config *c, const void *model, void *work, const Document *docs,
                      int count, double share, double *each) {
  double mean;
  const int T = read(c, work, docs, count);
  gpt(c, model, work, T, (real *)0);
  loss(c, work, docs, count, share, &mean);
  const real *surprise = (real *)work + sizes(*c).total;
  for (int t = 0; each && t < T; t++) each[t] = surprise[t];
  return mean;
}

static double gradient(const Config *c, const void *model, void *work, const Document *docs,
                       int count, double share) {
  const double mean = measure(c, model, work, docs, count, share, (double *)0);
  const int T = rows_of(docs, count);
  backward(c, model, work, T, (Learner){(real *)0, work, (Adam *)0});
  return mean;
}

/* The weight matrices of linear layers: number 0 is lm_head, then come each layer's four. */
typedef struct {
  size at;
  int outputs, inputs;
} Matrix;

INLINE Matrix matrix(const Sizes s, int number) {
  const size layer = s.layers + (number - 1) / 4 * s.layer;
  if (number == 0) return (Matrix){s.lm_head, s.vocab, s.embd};
  if (number % 4 == 1) return (Matrix){layer, 3 * s.attn, s.embd};
  if (number % 4 == 2) return (Matrix){layer + s.attn_wo, s.embd, s.attn};
  if (number % 4 == 3) return (Matrix){layer + s.mlp_fc1, s.hidden, s.embd};
  return (Matrix){layer + s.mlp_fc2, s.embd, s.hidden};
}

INLINE V sum_at(void *const *works, int count, size at) {
  V sum = load((real *)works[0] + at);
  for (int k = 1; k < count; k++) sum += load((real *)works[k] + at);
  return sum;
}

static void adam_step(const Config *c, void *to, void *const *works, int count, const Step *step,
                      int part, int parts) {
  const Sizes s = sizes(*c);
  real *model = to;
  int turn = 0; /* tiles are dealt out in turn */
  const Adam a = adam_of(step);
  const Decay decay = step->weight_decay != 0 ? DECAY : KEEP;
  for (size i = s.wte; i < s.lm_head; i += LANES)
    if (turn++ % parts == part)
      adam(s, model + i, sum_at(works, count, i), &a, (int)(i / LANES), decay);
  for (int number = 0; number <= 4 * s.n_layer; number++) {
    const Matrix w = matrix(s, number);
    for (int o = 0; o < w.outputs; o += LANES) {
      if (turn++ % parts != part) continue;
      for (int i = 0; i < w.inputs; i += LANES) {
        V g[LANES];
        for (int r = 0; r < LANES; r++)
          g[r] = sum_at(works, count, w.at + (size)(o + r) * w.inputs + i);
        adam_tile(s, model, w.at, o, i, w.outputs, w.inputs, g, &a, decay);
      }
    }
  }
}

static double train(const Config *c, void *model, void *work, const Document *docs, int count,
                    const Step *step) {
  const double mean = measure(c, model, work, docs, count, 1.0 / count, (double *)0);
  if (mean - mean != 0) return mean; /* NaN or infinite */
  const int T = rows_of(docs, count);
  if (step->weight_decay != 0) {
    clear(c, work);
    backward(c, model, work, T, (Learner){(real *)0, work, (Adam *)0});
    adam_step(c, model, &work, 1, step, 0, 1);
  } else {
    const Adam a = adam_of(step);
    backward(c, model, work, T, (Learner){model, work, &a});
  }
  return mean;
}

/* ---- Inference ------------------------------------------------------------------------------- */
static void step_rows(const Config *c, const real *model, real *work, real *cache,
                      const int32_t *tokens, const int32_t *positions, int count) {
  const Sizes s = sizes(*c);
  int32_t *token_id = (int32_t *)(work + s.token_id), *position = (int32_t *)(work + s.position);
  for (int t = 0; t < count; t++) token_id[t] = tokens[t], position[t] = positions[t];
  gpt(c, model, work, count, cache);
}

static void step(const Config *c, const void *model, void *work, void *cache, int32_t token,
                 int32_t position, double *logits) {
  const Sizes s = sizes(*c);
  step_rows(c, model, work, cache, &token, &position, 1);
  for (int i = 0; i < s.vocab_size; i++) logits[i] = ((real *)work + s.logits)[i];
}

/* The generator of one name among many, sampling.py's Stream: SplitMix64 (Steele et al. 2014). */
static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}
#define GOLDEN 0x9e3779b97f4a7c15
static double uniform(uint64_t *state) {
  return (double)(mix(*state += GOLDEN) >> 11) * 0x1p-53;
}

/* Of a row that is proportional to the probabilities, set to 0 all but the top_k likeliest tokens,
 * and of those all but the likeliest that together reach top_p. */
static void keep_likeliest(const Sizes s, real *row, real total, const Sampling *how) {
  real reached = 0, least = 0; /* the last token kept, and its number: ties go to the first */
  int last = s.vocab_size, kept = 0;
  for (int k = 0; k < how->top_k && reached < (real)how->top_p * total; k++, kept++) {
    int next = -1;
    for (int i = 0; i < s.vocab_size; i++)
      if ((!k || row[i] < least || (row[i] == least && i > last)) &&
          (next < 0 || row[i] > row[next]))
        next = i;
    least = row[next], last = next, reached += least;
  }
  for (int i = 0; i < s.vocab_size; i++)
    if (row[i] < least || (row[i] == least && i > last)) row[i] = 0;
}

/* Turn each stream's row of logits into a token, as sampling.py does. */
INLINE void choose_with(const Sizes s, real *logits, const Sampling *how, uint64_t *states,
                        int streams, int32_t *chosen) {
  const int plain = how->top_k >= s.vocab_size && how->top_p >= 1;
  if (how->temperature == 0) {
    for (int r = 0; r < streams; r++) {
      const real *row = logits + (size)r * s.vocab;
      chosen[r] = 0;
      for (int i = 1; i < s.vocab_size; i++)
        if (row[i] > row[chosen[r]]) chosen[r] = i;
    }
    return;
  }
  for (int first = 0; first < streams; first += LANES) { /* a stream a lane */
    V drawn = {0}, sum = {0};
    I token = {0};
    for (int r = first; r < first + LANES && r < streams; r++) {
      real *row = logits + (size)r * s.vocab;
      V largest;
      real total = exps_of(row, &largest, all((real)(1 / how->temperature)), s)[0];
      if (!plain) {
        keep_likeliest(s, row, total, how);
        total = 0;
        for (int i = 0; i < s.vocab_size; i++) total += row[i];
      }
      drawn[r - first] = (real)uniform(&states[r]) * total;
    }
    for (int i = 0; i < s.vocab_size - 1; i += LANES) {
      V e[LANES];
      UNROLL for (int r = 0; r < LANES; r++) e[r] = load(logits + (size)(first + r) * s.vocab + i);
      transpose(e);
      for (int k = 0; k < LANES && i + k < s.vocab_size - 1; k++) {
        sum += e[k];
        token -= sum <= drawn; /* where it holds, the mask is -1 */
      }
    }
    for (int r = first; r < first + LANES && r < streams; r++)
      chosen[r] = (int32_t)token[r - first];
  }
}
TWICE(choose,
      (const Config *c, real *logits, const Sampling *how, uint64_t *states, int streams,
       int32_t *chosen),
      (c, logits, how, states, streams, chosen),
      choose_with(s, logits, how, states, streams, chosen))

static void sample(const Config *c, const void *model, void *work, void *cache, const Sampling *how,
                   uint64_t first, int count, int32_t *tokens, int32_t *lengths) {
  const Sizes s = sizes(*c);
  const int bos = s.vocab_size - 1, streams = count < STREAMS ? count : STREAMS;
  uint64_t state[STREAMS];
  int32_t name[STREAMS], last[STREAMS], position[STREAMS], chosen[STREAMS];
  int started = 0, running = 0;
  for (int r = 0; r < streams; r++, started++, running++)
    name[r] = started, state[r] = mix(mix(how->seed) + first + (uint64_t)started),
    last[r] = bos, position[r] = 0;
  while (running) {
    step_rows(c, model, work, cache, last, position, streams);
    choose(c, (real *)work + s.logits, how, state, streams, chosen);
    for (int r = 0; r < streams; r++) {
      if (name[r] < 0) continue; /* no name is left for this stream */
      const int given = position[r] < how->n_prefix;
      const int token = given ? how->prefix[position[r]] : chosen[r];
      if (given && how->temperature)
        state[r] -= GOLDEN; /* what was chosen for nothing has not been drawn */
      if (given || token != bos) {
        tokens[(size)name[r] * s.block_size + position[r]++] = last[r] = token;
        if (position[r] < s.block_size) continue;
      }
      lengths[name[r]] = position[r]; /* the name is finished, and the stream takes the next */
      name[r] = started < count ? started++ : -1;
      running -= name[r] < 0;
      state[r] = mix(mix(how->seed) + first + (uint64_t)name[r]), last[r] = bos, position[r] = 0;
    }
  }
}

static void inspect(const Config *c, const void *model, void *block, const int32_t *tokens, int T,
                    double *logits, double *probs, double *attention, double *residual,
                    double *hidden) {
  const Sizes s = sizes(*c);
  real *work = block;
  int32_t *token_id = (int32_t *)(work + s.token_id), *position = (int32_t *)(work + s.position);
  for (int t = 0; t < T; t++) token_id[t] = tokens[t], position[t] = t;
  gpt(c, model, work, T, (real *)0);
  for (int t = 0; t < T; t++) {
    real *row = work + s.logits + (size)t * s.vocab;
    for (int i = 0; i < s.vocab_size; i++) *logits++ = row[i];
    V largest, total = exps_of(row, &largest, all(1), s);
    for (int i = 0; i < s.vocab_size; i++) *probs++ = row[i] / total[0];
  }
  for (int layer = 0; layer < s.n_layer; layer++) {
    const real *seen = work + s.seen + layer * s.layer_seen;
    for (int h = 0; h < s.n_head; h++)
      for (size t = 0; t < T; t++)
        for (size i = 0; i < T; i++) { /* pair (t, i) comes after t (t + 1) / 2 + i others */
          const size at = ((t * (t + 1) / 2 + i) * s.parts + h * s.head / s.part) * LANES;
          *attention++ = i <= t ? seen[s.weights + at + h * s.head % s.part % LANES] : 0;
        }
    for (int t = 0; t < T; t++)
      for (int i = 0; i < 4 * s.n_embd; i++) *hidden++ = seen[s.units + (size)t * s.hidden + i];
  }
  for (int layer = 0; layer <= s.n_layer; layer++)
    for (int t = 0; t < T; t++)
      for (int i = 0; i < s.n_embd; i++)
        *residual++ = work[s.x + ((size)layer * s.tokens + t) * s.embd + i];
}

/* ---- In and out: gpt.py's order, without padding --------------------------------------------- */
/* Where number i of the row of all heads lies, each head being padded. */
INLINE int spread(const Sizes s, int i, int heads) {
  const int head_dim = s.n_embd / s.n_head;
  return heads ? i / head_dim * s.head + i % head_dim : i;
}

/* Copy one matrix, kept divided by `scale`, to or from `flat`; return what follows it there. */
static double *copy(const Sizes s, real *block, double *flat, int in, double scale, int outputs,
                    int inputs, int stride, int heads_out, int heads_in) {
  for (int o = 0; o < outputs; o++)
    for (int i = 0; i < inputs; i++, flat++) {
      real *at = block + (size)spread(s, o, heads_out) * stride + spread(s, i, heads_in);
      if (in) *at = (real)(*flat / scale);
      else *flat = (double)*at * scale;
    }
  return flat;
}

static void copy_all(const Sizes s, real *block, double *flat, int in, double scale) {
  const int n = s.n_embd;
  flat = copy(s, block + s.wte, flat, in, scale, s.vocab_size, n, s.embd, 0, 0);
  flat = copy(s, block + s.wpe, flat, in, scale, s.block_size, n, s.embd, 0, 0);
  flat = copy(s, block + s.lm_head, flat, in, scale, s.vocab_size, n, s.embd, 0, 0);
  for (int layer = 0; layer < s.n_layer; layer++) {
    real *w = block + s.layers + layer * s.layer;
    for (size qkv = 0; qkv < 3; qkv++)
      flat = copy(s, w + qkv * s.attn * s.embd, flat, in, scale, n, n, s.embd, 1, 0);
    flat = copy(s, w + s.attn_wo, flat, in, scale, n, n, s.attn, 0, 1);
    flat = copy(s, w + s.mlp_fc1, flat, in, scale, 4 * n, n, s.embd, 0, 0);
    flat = copy(s, w + s.mlp_fc2, flat, in, scale, n, 4 * n, s.hidden, 0, 0);
  }
}

static void put(const Config *c, void *model, enum Part part, double fresh, const double *flat) {
  const Sizes s = sizes(*c);
  real *p = model;
  copy_all(s, p + part * s.params, (double *)flat, 1, kept(fresh));
  for (int number = 0; part == PARAMS && number <= 4 * s.n_layer; number++) {
    const Matrix w = matrix(s, number);
    for (int o = 0; o < w.outputs; o++)
      for (int i = 0; i < w.inputs; i++)
        p[3 * s.params + w.at + (size)i * w.outputs + o] = p[w.at + (size)o * w.inputs + i];
  }
}

static void get(const Config *c, const void *block, enum Part part, double fresh, double *flat) {
  const Sizes s = sizes(*c);
  copy_all(s, (real *)block + (part == GRADIENT ? 0 : part * s.params), flat, 0, kept(fresh));
}

static double model_bytes(const Config *c) { return (double)sizes(*c).params * 4 * REAL_BYTES; }
static double workspace_bytes(const Config *c) { return (double)sizes(*c).work * REAL_BYTES; }
static double cache_bytes(const Config *c) {
  const Sizes s = sizes(*c);
  return (double)s.n_layer * STREAMS * s.block_size * 2 * s.attn * REAL_BYTES;
}
static int capacity(const Config *c) { return sizes(*c).tokens; }

/* ---- The table ------------------------------------------------------------------------------- */
static uint64_t enter(void) { return flush_denormals(); }
static void leave(uint64_t before) { restore_denormals(before); }

const Kernel KERNEL = {SIMD, REAL_BYTES, model_bytes, workspace_bytes, cache_bytes, capacity,
                       put, get, clear, measure, gradient, train, adam_step, step, sample, inspect,
                       enter, leave};

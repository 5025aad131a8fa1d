/* microgpt.native.kernel: the kernel as a Python type, through the limited API. Here is what the
 * kernel does without: Python's objects, memory, threads, and looking for Ctrl-C. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>
#include <time.h>
#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <stdatomic.h>
#endif

#include "kernel.h"

/* ---- The kernels of this machine ------------------------------------------------------------- */
#if defined(__x86_64__) || defined(_M_X64)
extern const Kernel avx512_4, avx512_8, avx2_4, avx2_8;
#endif
extern const Kernel portable_4, portable_8;

typedef struct {
  const Kernel *float32, *float64;
} Kernels;

#if defined(__x86_64__) || defined(_M_X64)
/* How wide the vectors are that processor and system know: 2 is AVX-512, 1 AVX2, 0 less.
 * (__builtin_cpu_supports knows it too, but from a library that clang-cl does not link.) */
static int widest(void) {
  unsigned a, b, c, d, kept, high;
  if (__get_cpuid_max(0, NULL) < 7) return 0;
  __cpuid(1, a, b, c, d);
  const unsigned fma = 1u << 12, xsave = 1u << 27;
  if ((c & fma) == 0 || (c & xsave) == 0) return 0;
  /* which registers the system keeps */
  __asm__ volatile("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
  __cpuid_count(7, 0, a, b, c, d);
  const unsigned avx2 = 1u << 5;
  const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* f, dq, bw, vl */
  if ((kept & 0x06) != 0x06 || (b & avx2) == 0) return 0;
  return (kept & 0xe6) == 0xe6 && (b & avx512) == avx512 ? 2 : 1;
}
#endif

/* Fill `found` with the kernels that this processor runs, fastest first; return their number. */
static int find_kernels(Kernels found[3]) {
  int n = 0;
#if defined(__x86_64__) || defined(_M_X64)
  const int width = widest();
  if (width == 2) found[n++] = (Kernels){&avx512_4, &avx512_8};
  if (width >= 1) found[n++] = (Kernels){&avx2_4, &avx2_8};
#endif
  found[n++] = (Kernels){&portable_4, &portable_8};
  return n;
}

/* ---- The model ------------------------------------------------------------------------------- */
typedef struct {
  void *at;    /* aligned to 64 bytes */
  void *whole; /* what free wants */
} Block;

#define NUMBERS 256 /* token ids that are known by their objects */
#define SLOTS 512
#define SLOT(object) ((uintptr_t)(object) / 32 % SLOTS)
#define WORKS 8 /* gradients that a large batch is shared among, whatever the number of threads */

typedef struct {
  PyObject_HEAD
  const Kernel *kernel;
  Config config;
  double beta1, beta2, eps, weight_decay;
  double t; /* steps taken */
  int threads;
  int position; /* of the next token that `step` reads */
  int busy;     /* a call works on it without the GIL */
  /* Python keeps one object for each small whole number. To know one again by its address is
   * quicker than to ask for its value; where `guesses` is wrong, asking is still right. */
  PyObject *numbers[NUMBERS];
  uint8_t guesses[SLOTS];
  Block model, cache, works[WORKS];
} Model;

static int allocate(Block *block, double bytes) {
  if (block->whole) return 0;
  if (bytes < 1e12) block->whole = calloc((size_t)bytes + 64, 1);
  if (!block->whole) {
    PyErr_Format(PyExc_ValueError, "a model of this size does not fit the memory");
    return -1;
  }
  block->at = (char *)block->whole + (64 - (uintptr_t)block->whole % 64);
  return 0;
}

static int work(Model *self, int count) { /* have `count` workspaces */
  for (int i = 0; i < count; i++)
    if (allocate(&self->works[i], self->kernel->workspace_bytes(&self->config)) < 0) return -1;
  return 0;
}

static int begin(Model *self) { /* one call at a time: two would write to the same workspace */
  if (self->busy) PyErr_SetString(PyExc_RuntimeError, "this engine is at work in another thread");
  return self->busy ? -1 : (self->busy = 1, 0);
}

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  int real_bytes, threads;
  const char *simd;
  Config c;
  double beta1, beta2, eps, weight_decay;
  (void)kwargs;
  if (!PyArg_ParseTuple(args, "(iiiii)(dddd)isi", &c.vocab_size, &c.n_layer, &c.n_embd, &c.n_head,
                        &c.block_size, &beta1, &beta2, &eps, &weight_decay, &real_bytes, &simd,
                        &threads))
    return NULL;
  /* Sizes are computed in 32 and 64 bits: far below where those end. */
  double params = 2.0 * c.vocab_size * c.n_embd + (double)c.block_size * c.n_embd +
                  12.0 * c.n_layer * c.n_embd * c.n_embd;
  if (c.n_embd > 1 << 20 || c.block_size > 1 << 20 || c.vocab_size > 1 << 24 || params > 1e10) {
    PyErr_SetString(PyExc_ValueError, "a model of this size does not fit the memory");
    return NULL;
  }
  Kernels found[3];
  const Kernel *kernel = NULL;
  for (int i = find_kernels(found); i-- > 0;) {
    const Kernel *k = real_bytes == 4 ? found[i].float32 : found[i].float64;
    if (!*simd || !strcmp(simd, k->simd)) kernel = k;
  }
  if (!kernel) {
    PyErr_Format(PyExc_ValueError, "this machine has no kernel %s", simd);
    return NULL;
  }
  allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
  Model *self = (Model *)alloc(type, 0);
  if (!self) return NULL;
  self->kernel = kernel, self->config = c, self->threads = threads;
  self->beta1 = beta1, self->beta2 = beta2, self->eps = eps, self->weight_decay = weight_decay;
  for (int id = 0; id < c.vocab_size && id < NUMBERS; id++) {
    if (!(self->numbers[id] = PyLong_FromLong(id))) {
      Py_DECREF(self);
      return NULL;
    }
    self->guesses[SLOT(self->numbers[id])] = (uint8_t)id;
  }
  if (allocate(&self->model, kernel->model_bytes(&c)) < 0 || work(self, 1) < 0) {
    Py_DECREF(self);
    return NULL;
  }
  return (PyObject *)self;
}

static void model_dealloc(PyObject *object) {
  Model *self = (Model *)object;
  PyTypeObject *type = Py_TYPE(object);
  for (int id = 0; id < NUMBERS; id++) Py_XDECREF(self->numbers[id]);
  free(self->model.whole);
  free(self->cache.whole);
  for (int i = 0; i < WORKS; i++) free(self->works[i].whole);
  ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
  Py_DECREF(type);
}

/* ---- From Python's lists to documents -------------------------------------------------------- */
typedef struct {
  int32_t *tokens;
  double *weights;
  Document *docs;   /* of all batches, one after another */
  Py_ssize_t *ends; /* of each batch, in docs */
  Py_ssize_t n_tokens, n_weights, n_docs, n_batches;
  Py_ssize_t room_tokens, room_weights, room_docs, room_batches;
} Batches;

static void drop(Batches *b) {
  free(b->tokens), free(b->weights), free(b->docs), free(b->ends);
}

static int grow(void *array, Py_ssize_t *room, Py_ssize_t need, size_t bytes) {
  if (need <= *room) return 0;
  Py_ssize_t more = need + *room / 2 + 64;
  void *moved = realloc(*(void **)array, (size_t)more * bytes);
  if (!moved) return PyErr_NoMemory(), -1;
  *(void **)array = moved, *room = more;
  return 0;
}

static PyObject *as_list(PyObject *sequence) { /* a new reference */
  if (!PyList_CheckExact(sequence)) return PySequence_List(sequence);
  Py_INCREF(sequence);
  return sequence;
}

/* Item i; a new reference, for turning it into a number may run code that changes the list. */
static PyObject *item(PyObject *list, Py_ssize_t i) {
  PyObject *object = PyList_GetItem(list, i);
  Py_XINCREF(object);
  return object;
}

/* Python says it better: the engine looks for the reason. */
static int refuse(void) {
  PyErr_SetString(PyExc_ValueError, "the batch cannot be used");
  return -1;
}

static long token_of(const Model *self, PyObject *object) {
  const int guess = self->guesses[SLOT(object)];
  if (self->numbers[guess] == object) return guess;
  Py_INCREF(object); /* it may run code that changes the list */
  const long token = PyLong_AsLong(object);
  Py_DECREF(object);
  return token;
}

static int read_document(const Model *self, Batches *b, PyObject *tokens, PyObject *weights) {
  const Config *c = &self->config;
  int result = -1;
  PyObject *list = as_list(tokens), *numbers = NULL;
  if (!list) return -1;
  const Py_ssize_t length = PyList_Size(list);
  const Py_ssize_t n = length - 1 < c->block_size ? length - 1 : c->block_size;
  if (n < 1) {
    refuse();
    goto done;
  }
  if (grow(&b->tokens, &b->room_tokens, b->n_tokens + n + 1, sizeof *b->tokens) < 0 ||
      grow(&b->docs, &b->room_docs, b->n_docs + 1, sizeof *b->docs) < 0)
    goto done;
  for (Py_ssize_t i = 0; i < length; i++) {
    PyObject *object = PyList_GetItem(list, i);
    if (!object) goto done;
    const long token = token_of(self, object);
    if (token < 0 || token >= c->vocab_size) {
      if (token != -1 || !PyErr_Occurred()) refuse();
      goto done;
    }
    if (i <= n) b->tokens[b->n_tokens + i] = (int32_t)token;
  }
  if (weights) {
    if (!(numbers = as_list(weights))) goto done;
    if (PyList_Size(numbers) != n) {
      refuse();
      goto done;
    }
    if (grow(&b->weights, &b->room_weights, b->n_weights + n, sizeof *b->weights) < 0) goto done;
    for (Py_ssize_t i = 0; i < n; i++) {
      PyObject *object = item(numbers, i);
      if (!object) goto done;
      b->weights[b->n_weights + i] = PyFloat_AsDouble(object);
      Py_DECREF(object);
      if (PyErr_Occurred()) goto done;
    }
  }
  /* Arrays may still move: until all is read, the pointers only tell whether there are weights. */
  b->docs[b->n_docs++] = (Document){NULL, weights ? (double *)b : NULL, (int32_t)n};
  b->n_tokens += n + 1;
  b->n_weights += weights ? n : 0;
  result = 0;
done:
  Py_XDECREF(numbers);
  Py_DECREF(list);
  return result;
}

static int read_batch(const Model *self, Batches *b, PyObject *batch, PyObject *weights) {
  int result = -1;
  PyObject *list = as_list(batch), *rows = NULL;
  if (!list) return -1;
  if (weights != Py_None && !(rows = as_list(weights))) goto done;
  if (!PyList_Size(list) || (rows && PyList_Size(rows) != PyList_Size(list))) {
    refuse();
    goto done;
  }
  for (Py_ssize_t i = 0; i < PyList_Size(list); i++) {
    PyObject *tokens = item(list, i), *row = rows ? item(rows, i) : NULL;
    const int read = !tokens || (rows && !row) ? -1 : read_document(self, b, tokens, row);
    Py_XDECREF(tokens);
    Py_XDECREF(row);
    if (read < 0) goto done;
    /* a long list takes a while */
    if (b->n_docs % 1024 == 0 && PyErr_CheckSignals() < 0) goto done;
  }
  if (grow(&b->ends, &b->room_batches, b->n_batches + 1, sizeof *b->ends) < 0) goto done;
  b->ends[b->n_batches++] = b->n_docs;
  result = 0;
done:
  Py_XDECREF(rows);
  Py_DECREF(list);
  return result;
}

static void settle(Batches *b) { /* the arrays no longer move: point into them */
  const int32_t *tokens = b->tokens;
  const double *weights = b->weights;
  for (Py_ssize_t d = 0; d < b->n_docs; d++) {
    Document *document = &b->docs[d];
    document->tokens = tokens, tokens += document->n + 1;
    if (document->weights) document->weights = weights, weights += document->n;
  }
}

/* ---- Work without the GIL -------------------------------------------------------------------- */
typedef struct {
  PyThreadState *thread;
  uint64_t mode;
  double last; /* when Python last had a say, s */
  double work; /* multiplications since the clock was read, about */
  int stop;    /* Ctrl-C: an exception is set */
} Away;

static double now(void) {
  struct timespec t;
  timespec_get(&t, TIME_UTC);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void leave_python(Model *self, Away *away) {
  *away = (Away){.last = now(), .mode = self->kernel->enter()};
  away->thread = PyEval_SaveThread();
}

static void return_to_python(Model *self, Away *away) {
  PyEval_RestoreThread(away->thread);
  self->kernel->leave(away->mode);
}

/* Let Python run its signal handlers, if the last time is a while ago; return whether to stop. */
static int interrupted(Model *self, Away *away, double work) {
  if (away->stop) return 1; /* asked again by the next share: the exception is set already */
  if ((away->work += work) < 2e7) return 0;
  away->work = 0;
  if (now() - away->last < 0.02) return 0;
  self->kernel->leave(away->mode);
  PyEval_RestoreThread(away->thread);
  away->stop = PyErr_CheckSignals() < 0;
  away->thread = PyEval_SaveThread();
  away->mode = self->kernel->enter();
  away->last = now();
  return away->stop;
}

static double work_of(const Config *c) { /* multiplications a token, forward and back, about */
  return 36.0 * c->n_layer * c->n_embd * c->n_embd + 6.0 * c->n_embd * c->vocab_size +
         6.0 * c->n_layer * c->n_embd * c->block_size;
}

/* ---- Large batches are shared -------------------------------------------------------------------
 * A batch falls into shares, each with a gradient of its own; how many depends on the batch alone,
 * and they are added up in their order. So the result does not depend on the threads. */
typedef enum { LOSS, GRADIENTS, ADAM } Job;

#if defined(_WIN32) /* one thread does it all */
typedef int atomic_int;
#define atomic_load(at) (*(at))
#define atomic_store(at, value) (*(at) = (value))
#define atomic_fetch_add(at, value) ((*(at) += (value)) - (value))
#endif

typedef struct {
  Model *model;
  Away *away;
  /* the job */
  Job job;
  const Document *docs;
  Py_ssize_t n;                /* documents of the batch */
  Py_ssize_t ends[WORKS];      /* of each share */
  double losses[WORKS];
  double *each;                /* -log p of every position, where it is wanted */
  const Step *step;
  atomic_int shares;
  atomic_int next;             /* the share, or part of Adam, that nobody has taken yet */
  atomic_int left;             /* how many are not done yet */
  atomic_int stop;
#if !defined(_WIN32)
  pthread_t threads[WORKS];
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  atomic_int round; /* jobs given out */
#endif
  int helpers;
  atomic_int leave;
} Team;

static void do_share(Team *team, int share, int is_main) {
  Model *self = team->model;
  const Kernel *k = self->kernel;
  const int capacity = k->capacity(&self->config);
  void *work = self->works[share].at;
  double sum = 0;
  if (team->job == ADAM) {
    void *works[WORKS];
    for (int i = 0; i < team->shares; i++) works[i] = self->works[i].at;
    k->adam(&self->config, self->model.at, works, team->shares, team->step, share, team->shares);
    return;
  }
  if (team->job == GRADIENTS) k->clear(&self->config, work);
  for (Py_ssize_t from = share ? team->ends[share - 1] : 0, to; from < team->ends[share];
       from = to) {
    int tokens = 0;
    for (to = from; to < team->ends[share] && tokens + team->docs[to].n <= capacity; to++)
      tokens += team->docs[to].n;
    const Document *docs = team->docs + from;
    const int count = (int)(to - from);
    const double share = 1.0 / (double)team->n;
    if (team->job == GRADIENTS) {
      sum += k->gradient(&self->config, self->model.at, work, docs, count, share);
    } else { /* a document has one token more than positions */
      double *each = team->each ? team->each + (docs->tokens - team->docs->tokens) - from : NULL;
      sum += k->loss(&self->config, self->model.at, work, docs, count, share, each);
    }
    if (is_main && interrupted(self, team->away, tokens * work_of(&self->config)))
      atomic_store(&team->stop, 1);
    if (atomic_load(&team->stop)) break;
  }
  team->losses[share] = sum;
}

static void do_shares(Team *team, int is_main) {
  for (int share; (share = atomic_fetch_add(&team->next, 1)) < team->shares;) {
    do_share(team, share, is_main);
    atomic_fetch_add(&team->left, -1);
  }
}

#if defined(_WIN32)
static void start_helpers(Team *team) { (void)team; }
static void end_helpers(Team *team) { (void)team; }
static void call_helpers(Team *team) { (void)team; }
static void give_way(void) {}
#else
static void *help(void *argument) {
  Team *team = argument;
  team->model->kernel->enter();
  for (int round = 0;; round++) {
    for (int i = 0; i < 2000 && atomic_load(&team->round) == round; i++) { /* the next is near */
    }
    pthread_mutex_lock(&team->mutex);
    while (atomic_load(&team->round) == round) pthread_cond_wait(&team->wake, &team->mutex);
    pthread_mutex_unlock(&team->mutex);
    if (team->leave) return NULL;
    do_shares(team, 0);
  }
}

static void start_helpers(Team *team) { /* fewer than wanted, if the system gives no more */
  const int wanted = (team->model->threads < WORKS ? team->model->threads : WORKS) - 1;
  if (team->helpers || wanted < 1) return;
  sigset_t all, before; /* signals are for Python's thread */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_mutex_init(&team->mutex, NULL);
  pthread_cond_init(&team->wake, NULL);
  while (team->helpers < wanted && !pthread_create(&team->threads[team->helpers], NULL, help, team))
    team->helpers++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void call_helpers(Team *team) {
  pthread_mutex_lock(&team->mutex);
  atomic_fetch_add(&team->round, 1);
  pthread_cond_broadcast(&team->wake);
  pthread_mutex_unlock(&team->mutex);
}

static void end_helpers(Team *team) {
  if (!team->helpers) return;
  team->leave = 1;
  call_helpers(team);
  for (int i = 0; i < team->helpers; i++) pthread_join(team->threads[i], NULL);
  pthread_cond_destroy(&team->wake);
  pthread_mutex_destroy(&team->mutex);
}

static void give_way(void) { sched_yield(); }
#endif

static void do_job(Team *team) {
  atomic_store(&team->left, team->shares);
  atomic_store(&team->next, 0);
  if (team->helpers && team->shares > 1) call_helpers(team);
  do_shares(team, 1);
  while (atomic_load(&team->left)) give_way();
  atomic_store(&team->next, WORKS); /* a helper that wakes late finds nothing to take */
}

/* Into how many shares a batch falls: 1, 2, 4 or 8, of 128 tokens or more, so that what it costs to
 * add up the gradients is little beside what it costs to compute them. */
static int shares_of(double tokens) {
  int shares = 1;
  while (shares < WORKS && 2 * shares * 128 <= tokens) shares *= 2;
  return shares;
}

static double tokens_of(const Document *docs, Py_ssize_t n) {
  double tokens = 0;
  for (Py_ssize_t i = 0; i < n; i++) tokens += docs[i].n;
  return tokens;
}

/* The loss of a batch; with GRADIENTS, `team->shares` workspaces hold its gradient in parts. */
static double in_shares(Team *team, Job job, const Document *docs, Py_ssize_t n) {
  const double tokens = tokens_of(docs, n);
  double done = 0, loss = 0;
  Py_ssize_t d = 0;
  team->job = job, team->docs = docs, team->n = n;
  for (int i = 0; i < team->shares; i++) {
    for (; d < n && (i == team->shares - 1 || done < tokens * (i + 1) / team->shares); d++)
      done += docs[d].n;
    team->ends[i] = d;
  }
  do_job(team);
  for (int i = 0; i < team->shares; i++) loss += team->losses[i];
  return loss;
}

/* ---- Losses and steps ------------------------------------------------------------------------ */
static PyObject *floats(const double *numbers, Py_ssize_t n) { /* a new list */
  PyObject *list = PyList_New(n);
  for (Py_ssize_t i = 0; list && i < n; i++) {
    PyObject *number = PyFloat_FromDouble(numbers[i]);
    if (!number || PyList_SetItem(list, i, number) < 0) Py_CLEAR(list);
  }
  return list;
}

/* Whether a loss is not finite; the exception is not an OverflowError, which bad numbers raise. */
static int lost(double loss) {
  if (loss - loss == 0) return 0;
  PyErr_SetString(PyExc_FloatingPointError, "the loss is not finite");
  return 1;
}

/* Read the batches of a call to train, with their weights, and return their learning rates. */
static double *read_training(const Model *self, Batches *b, PyObject *const *args) {
  PyObject *weights = NULL, *batches = as_list(args[0]), *rates = batches ? as_list(args[1]) : NULL;
  double *rate = NULL;
  int read = rates && (args[2] == Py_None || (weights = as_list(args[2]))) ? 0 : -1;
  const Py_ssize_t n = read < 0 ? 0 : PyList_Size(batches);
  if (!read && (PyList_Size(rates) != n || (weights && PyList_Size(weights) != n))) read = refuse();
  if (!read && !(rate = calloc((size_t)n + 1, sizeof *rate))) PyErr_NoMemory(), read = -1;
  for (Py_ssize_t i = 0; !read && i < n; i++) {
    PyObject *batch = item(batches, i), *lr = item(rates, i),
             *w = weights ? item(weights, i) : NULL;
    read = batch && lr && (w || !weights) ? 0 : -1;
    if (!read) rate[i] = PyFloat_AsDouble(lr), read = rate[i] == -1 && PyErr_Occurred() ? -1 : 0;
    if (!read && rate[i] - rate[i] != 0) read = refuse();
    if (!read) read = read_batch(self, b, batch, w ? w : Py_None);
    Py_XDECREF(batch), Py_XDECREF(lr), Py_XDECREF(w);
  }
  Py_XDECREF(batches), Py_XDECREF(rates), Py_XDECREF(weights);
  if (read < 0) free(rate), rate = NULL;
  return rate;
}

/* Have the workspaces that the largest batch takes. */
static int prepare(Model *self, const Batches *b) {
  int most = 1;
  for (Py_ssize_t i = 0; i < b->n_batches; i++) {
    const Py_ssize_t from = i ? b->ends[i - 1] : 0;
    const int shares = shares_of(tokens_of(b->docs + from, b->ends[i] - from));
    most = shares > most ? shares : most;
  }
  return work(self, most);
}

/* Take one step, unless the loss is not finite or the user stops; return the loss before it. */
static double take_step(Team *team, const Document *docs, Py_ssize_t count, double tokens,
                        double lr) {
  Model *self = team->model;
  const Step step = {lr, self->beta1, self->beta2, self->eps, self->weight_decay, self->t};
  team->shares = shares_of(tokens);
  if (team->shares == 1 && tokens <= self->kernel->capacity(&self->config))
    return self->kernel->train(&self->config, self->model.at, self->works[0].at, docs, (int)count,
                               &step);
  if (team->shares > 1) start_helpers(team);
  const double loss = in_shares(team, GRADIENTS, docs, count);
  if (team->away->stop || loss - loss != 0) return loss;
  team->job = ADAM, team->step = &step;
  do_job(team);
  return loss;
}

/* Take a step for each batch, up to a loss that is not finite, and note the losses. */
static int take_steps(Model *self, const Batches *b, const double *rates, double *losses) {
  Away away;
  Team team = {.model = self, .away = &away};
  double loss = 0;
  leave_python(self, &away);
  for (Py_ssize_t i = 0; i < b->n_batches; i++) {
    const Document *docs = b->docs + (i ? b->ends[i - 1] : 0);
    const Py_ssize_t count = b->docs + b->ends[i] - docs;
    const double tokens = tokens_of(docs, count);
    loss = take_step(&team, docs, count, tokens, rates[i]);
    if (away.stop || loss - loss != 0) break;
    self->t++;
    losses[i] = loss;
    if (interrupted(self, &away, tokens * work_of(&self->config))) break;
  }
  end_helpers(&team);
  return_to_python(self, &away);
  return away.stop || lost(loss) ? -1 : 0;
}

static PyObject *train(Model *self, PyObject *const *args, Py_ssize_t nargs) {
  if (nargs != 3) return PyErr_SetString(PyExc_TypeError, "train takes 3 arguments"), NULL;
  if (begin(self) < 0) return NULL;
  Batches b = {0};
  PyObject *result = NULL;
  double *rates = read_training(self, &b, args), *losses = NULL;
  if (rates && !(losses = calloc((size_t)b.n_batches + 1, sizeof *losses))) PyErr_NoMemory();
  if (losses) {
    settle(&b);
    if (prepare(self, &b) == 0 && take_steps(self, &b, rates, losses) == 0)
      result = floats(losses, b.n_batches);
  }
  self->busy = 0;
  drop(&b);
  free(rates), free(losses);
  return result;
}

/* The loss of one batch; as GRADIENTS, its gradient in the first workspace; in `each`, unless it is
 * NULL, memory with -log p of every position, to be freed. */
static int measure(Model *self, Batches *b, PyObject *batch, PyObject *weights, Job job,
                   double **each, double *loss) {
  if (read_batch(self, b, batch, weights) < 0) return -1;
  settle(b);
  Away away;
  Team team = {.model = self, .away = &away};
  team.shares = job == GRADIENTS ? 1 : shares_of(tokens_of(b->docs, b->n_docs));
  if (work(self, team.shares) < 0) return -1;
  if (each && !(team.each = *each = malloc((size_t)b->n_tokens * sizeof **each)))
    return PyErr_NoMemory(), -1;
  leave_python(self, &away);
  if (team.shares > 1) start_helpers(&team);
  *loss = in_shares(&team, job, b->docs, b->n_docs);
  end_helpers(&team);
  return_to_python(self, &away);
  return away.stop || lost(*loss) ? -1 : 0;
}

static PyObject *loss(Model *self, PyObject *const *args, Py_ssize_t nargs) {
  if (nargs != 2) return PyErr_SetString(PyExc_TypeError, "loss takes 2 arguments"), NULL;
  if (begin(self) < 0) return NULL;
  Batches b = {0};
  double mean;
  const int failed = measure(self, &b, args[0], args[1], LOSS, NULL, &mean) < 0;
  self->busy = 0;
  drop(&b);
  return failed ? NULL : PyFloat_FromDouble(mean);
}

static PyObject *losses(Model *self, PyObject *batch) {
  if (begin(self) < 0) return NULL;
  Batches b = {0};
  double mean, *each = NULL;
  PyObject *result = NULL;
  if (measure(self, &b, batch, Py_None, LOSS, &each, &mean) == 0) {
    const double *at = each;
    result = PyList_New(b.n_docs);
    for (Py_ssize_t d = 0; result && d < b.n_docs; at += b.docs[d++].n) {
      PyObject *row = floats(at, b.docs[d].n);
      if (!row || PyList_SetItem(result, d, row) < 0) Py_CLEAR(result);
    }
  }
  self->busy = 0;
  drop(&b);
  free(each);
  return result;
}

/* ---- Arrays of doubles and integers, given by Python to be read or filled -------------------- */
static int view(PyObject *object, Py_buffer *buffer, size_t bytes, int writable) {
  if (PyObject_GetBuffer(object, buffer, PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0)) < 0)
    return -1;
  if ((size_t)buffer->len == bytes) return 0;
  PyBuffer_Release(buffer);
  PyErr_SetString(PyExc_ValueError, "an array has the wrong size");
  return -1;
}

static size_t flat_bytes(const Config *c) {
  const size_t n = (size_t)c->n_embd;
  return sizeof(double) * n *
         ((size_t)c->vocab_size * 2 + (size_t)c->block_size + 12 * n * (size_t)c->n_layer);
}

static double fresh(const Model *self, int part) {
  return part == ADAM_M ? 1 - self->beta1 : part == ADAM_V ? 1 - self->beta2 : 1;
}

/* Parameters, adam.m and adam.v lie one after another in `flat`; all are taken over or none is. */
static PyObject *load(Model *self, PyObject *const *args, Py_ssize_t nargs) {
  const size_t bytes = flat_bytes(&self->config);
  Py_buffer flat;
  if (nargs != 2) return PyErr_SetString(PyExc_TypeError, "load takes 2 arguments"), NULL;
  const double t = PyFloat_AsDouble(args[1]);
  if (t == -1 && PyErr_Occurred()) return NULL;
  if (view(args[0], &flat, 3 * bytes, 0) < 0) return NULL;
  if (begin(self) < 0) return PyBuffer_Release(&flat), NULL;
  for (int part = PARAMS; part <= ADAM_V; part++)
    self->kernel->put(&self->config, self->model.at, (enum Part)part, fresh(self, part),
                      (const double *)((char *)flat.buf + (size_t)part * bytes));
  self->t = t, self->position = 0;
  self->busy = 0;
  PyBuffer_Release(&flat);
  Py_RETURN_NONE;
}

static PyObject *state(Model *self, PyObject *to) { /* the same, out; returns the steps taken */
  const size_t bytes = flat_bytes(&self->config);
  Py_buffer flat;
  if (view(to, &flat, 3 * bytes, 1) < 0) return NULL;
  if (begin(self) < 0) return PyBuffer_Release(&flat), NULL;
  for (int part = PARAMS; part <= ADAM_V; part++)
    self->kernel->get(&self->config, self->model.at, (enum Part)part, fresh(self, part),
                      (double *)((char *)flat.buf + (size_t)part * bytes));
  self->busy = 0;
  PyBuffer_Release(&flat);
  return PyFloat_FromDouble(self->t);
}

static PyObject *gradient(Model *self, PyObject *const *args, Py_ssize_t nargs) {
  Py_buffer flat;
  if (nargs != 3) return PyErr_SetString(PyExc_TypeError, "gradient takes 3 arguments"), NULL;
  if (view(args[2], &flat, flat_bytes(&self->config), 1) < 0) return NULL;
  if (begin(self) < 0) return PyBuffer_Release(&flat), NULL;
  Batches b = {0};
  double mean;
  const int failed = measure(self, &b, args[0], args[1], GRADIENTS, NULL, &mean) < 0;
  if (!failed) self->kernel->get(&self->config, self->works[0].at, GRADIENT, 1, flat.buf);
  self->busy = 0;
  drop(&b);
  PyBuffer_Release(&flat);
  return failed ? NULL : PyFloat_FromDouble(mean);
}

/* ---- Inference ------------------------------------------------------------------------------- */
static PyObject *reset(Model *self, PyObject *ignored) {
  (void)ignored;
  self->position = 0;
  Py_RETURN_NONE;
}

static PyObject *step(Model *self, PyObject *const *args, Py_ssize_t nargs) {
  const Config *c = &self->config;
  Py_buffer logits;
  if (nargs != 2) return PyErr_SetString(PyExc_TypeError, "step takes 2 arguments"), NULL;
  const long token = PyLong_AsLong(args[0]);
  if (token == -1 && PyErr_Occurred()) return NULL;
  if (token < 0 || token >= c->vocab_size || self->position >= c->block_size) return refuse(), NULL;
  if (allocate(&self->cache, self->kernel->cache_bytes(c)) < 0) return NULL;
  if (view(args[1], &logits, sizeof(double) * (size_t)c->vocab_size, 1) < 0) return NULL;
  if (begin(self) < 0) return PyBuffer_Release(&logits), NULL;
  const uint64_t mode = self->kernel->enter();
  self->kernel->step(c, self->model.at, self->works[0].at, self->cache.at, (int32_t)token,
                     self->position++, logits.buf);
  self->kernel->leave(mode);
  self->busy = 0;
  PyBuffer_Release(&logits);
  Py_RETURN_NONE;
}

static PyObject *number(const Model *self, int32_t token) { /* a new reference */
  if (token >= NUMBERS) return PyLong_FromLong(token);
  Py_INCREF(self->numbers[token]);
  return self->numbers[token];
}

static int append_names(const Model *self, PyObject *names, const int32_t *tokens,
                        const int32_t *lengths, int count) {
  for (int i = 0; i < count; i++, tokens += self->config.block_size) {
    PyObject *name = PyList_New(lengths[i]);
    for (int j = 0; name && j < lengths[i]; j++) {
      PyObject *token = number(self, tokens[j]);
      if (!token || PyList_SetItem(name, j, token) < 0) Py_CLEAR(name);
    }
    const int failed = !name || PyList_Append(names, name) < 0;
    Py_XDECREF(name);
    if (failed) return -1;
  }
  return 0;
}

static PyObject *sample(Model *self, PyObject *args) {
  const Config *c = &self->config;
  Sampling how;
  Py_buffer prefix;
  unsigned long long seed;
  Py_ssize_t count;
  if (!PyArg_ParseTuple(args, "nKdidy*", &count, &seed, &how.temperature, &how.top_k, &how.top_p,
                        &prefix))
    return NULL;
  how.seed = seed, how.prefix = prefix.buf,
  how.n_prefix = (int32_t)((size_t)prefix.len / sizeof(int32_t));
  int valid =
      how.n_prefix < c->block_size && how.temperature >= 0 && how.top_k >= 1 && how.top_p > 0;
  for (int i = 0; i < how.n_prefix; i++)
    valid &= how.prefix[i] >= 0 && how.prefix[i] < c->vocab_size;
  if (!valid) refuse();
  if (!valid || allocate(&self->cache, self->kernel->cache_bytes(c)) < 0 || begin(self) < 0) {
    PyBuffer_Release(&prefix);
    return NULL;
  }
  /* So many at a time that Python has a say every few milliseconds. */
  const double names = 1e8 / (work_of(c) * c->block_size);
  const int most = names > 4096 ? 4096 : names < STREAMS ? STREAMS : (int)names;
  int32_t *tokens = malloc((size_t)most * (size_t)c->block_size * sizeof *tokens);
  int32_t *lengths = malloc((size_t)most * sizeof *lengths);
  PyObject *result = PyList_New(0);
  if (!tokens || !lengths) {
    PyErr_NoMemory();
    Py_CLEAR(result);
  }
  for (Py_ssize_t done = 0; result && done < count; done += most) {
    const int some = count - done < most ? (int)(count - done) : most;
    Away away;
    leave_python(self, &away);
    self->kernel->sample(c, self->model.at, self->works[0].at, self->cache.at, &how, (uint64_t)done,
                         some, tokens, lengths);
    return_to_python(self, &away);
    const int collects = PyGC_Disable(); /* whole numbers make no cycles: nothing to look for */
    const int failed = append_names(self, result, tokens, lengths, some) < 0;
    if (collects) PyGC_Enable();
    if (failed || PyErr_CheckSignals() < 0) Py_CLEAR(result);
  }
  self->position = 0; /* the cache has been used */
  self->busy = 0;
  free(tokens), free(lengths);
  PyBuffer_Release(&prefix);
  return result;
}

static PyObject *inspect(Model *self, PyObject *const *args, Py_ssize_t nargs) {
  const Config *c = &self->config;
  Py_buffer to[6] = {{0}};
  int held = 0;
  PyObject *result = NULL;
  if (nargs != 6) return PyErr_SetString(PyExc_TypeError, "inspect takes 6 arguments"), NULL;
  if (PyObject_GetBuffer(args[0], &to[0], PyBUF_C_CONTIGUOUS) < 0) return NULL;
  held = 1;
  const size_t T = (size_t)to[0].len / sizeof(int32_t), n = (size_t)c->n_embd,
               layers = (size_t)c->n_layer;
  const int32_t *tokens = to[0].buf;
  int valid = T > 0 && T <= (size_t)c->block_size;
  for (size_t i = 0; valid && i < T; i++) valid = tokens[i] >= 0 && tokens[i] < c->vocab_size;
  if (!valid) {
    refuse();
    goto done;
  }
  const size_t vocab = (size_t)c->vocab_size, heads = (size_t)c->n_head;
  const size_t counts[] = {
      0, T * vocab, T * vocab, layers * heads * T * T, (layers + 1) * T * n, layers * T * 4 * n};
  for (; held < 6; held++)
    if (view(args[held], &to[held], sizeof(double) * counts[held], 1) < 0) goto done;
  if (begin(self) < 0) goto done;
  const uint64_t mode = self->kernel->enter();
  self->kernel->inspect(c, self->model.at, self->works[0].at, tokens, (int)T, to[1].buf, to[2].buf,
                        to[3].buf, to[4].buf, to[5].buf);
  self->kernel->leave(mode);
  self->busy = 0;
  result = Py_None;
  Py_INCREF(result);
done:
  while (held) PyBuffer_Release(&to[--held]);
  return result;
}

/* ---- The type and the module ----------------------------------------------------------------- */
#define METHOD(name, flags, doc) {#name, (PyCFunction)(void (*)(void))name, flags, doc}
static PyMethodDef methods[] = {
    METHOD(load, METH_FASTCALL, "load(flat, t): take over parameters, adam.m, adam.v and adam.t."),
    METHOD(state, METH_O, "state(flat) -> t: give them."),
    METHOD(train, METH_FASTCALL, "train(batches, learning_rates, weights or None) -> losses."),
    METHOD(loss, METH_FASTCALL, "loss(batch, weights or None) -> loss."),
    METHOD(losses, METH_O, "losses(batch) -> -log p of every position, a list for each document."),
    METHOD(gradient, METH_FASTCALL, "gradient(batch, weights or None, flat) -> loss."),
    METHOD(reset, METH_NOARGS, "reset(): the next token is the first."),
    METHOD(step, METH_FASTCALL, "step(token, logits): read a token."),
    METHOD(sample, METH_VARARGS,
           "sample(count, seed, temperature, top_k, top_p, prefix) -> names."),
    METHOD(inspect, METH_FASTCALL, "inspect(tokens, logits, probs, attention, residual, hidden)."),
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"position", T_INT, offsetof(Model, position), READONLY, "of the next token that `step` reads"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, model_new}, {Py_tp_dealloc, model_dealloc}, {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_doc, "Model(sizes, optimizer, bytes of a real, simd or '', threads)"},
    {0, NULL},
};
static PyType_Spec spec = {"microgpt.native.kernel.Model", sizeof(Model), 0, Py_TPFLAGS_DEFAULT,
                           slots};

static PyObject *kernels(PyObject *module, PyObject *ignored) {
  Kernels found[3];
  const int n = find_kernels(found);
  (void)module, (void)ignored;
  PyObject *names = PyList_New(n);
  for (int i = 0; names && i < n; i++) {
    PyObject *name = PyUnicode_FromString(found[i].float32->simd);
    if (!name || PyList_SetItem(names, i, name) < 0) Py_CLEAR(names);
  }
  return names;
}

static PyMethodDef functions[] = {
    METHOD(kernels, METH_NOARGS,
           "kernels() -> names of those that this machine runs, fastest first."),
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module) {
  PyObject *type = PyType_FromSpec(&spec);
  if (!type) return -1;
  const int added = PyModule_AddObjectRef(module, "Model", type);
  Py_DECREF(type);
  return added;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};
static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "kernel",
    .m_methods = functions,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit_kernel(void) { return PyModuleDef_Init(&definition); }

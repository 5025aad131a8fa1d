"""A complete GPT: it reads a list of names, learns how names are spelled, and invents new ones.

    python gpt.py [FILE]       FILE holds one document a line; without it, a list of names is found

Plain Python numbers, no dependencies. A large language model has the same six parts, plus scale:
text becomes tokens, tokens become vectors, vectors a guess at the next token, its error a gradient.
"""
import math, os, random, sys
from collections import namedtuple
from operator import mul
from pathlib import Path
from urllib.request import urlopen

# ---- Dataset: documents, one a line --------------------------------------------------------------
PUBLISHED = "https://raw.githubusercontent.com/karpathy/makemore/988aa59/names.txt"
def find():
    """Return a list of names: in this folder, else beside this file, else downloaded to here."""
    here, packaged = Path("names.txt"), Path(__file__).parent / "data" / "names.txt"
    if not here.exists() and not packaged.exists():
        here.write_bytes(urlopen(PUBLISHED, timeout=30).read())
    return here if here.exists() else packaged

def read(path):
    return [line.strip() for line in path.read_text("utf-8-sig").split("\n") if line.strip()]

# ---- Tokenizer: text <-> integers ----------------------------------------------------------------
# A character's token is its place in the alphabet (a-z -> 0-25). One more token, BOS (26), marks
# both ends of a document: emma -> [26, 4, 12, 12, 0, 26].
def encode(doc, alphabet): return [len(alphabet), *map(alphabet.index, doc), len(alphabet)]
def decode(tokens, alphabet): return "".join(alphabet[token] for token in tokens)

# ---- Autograd: numbers that know where they came from --------------------------------------------
class Value:
    """A number, the values it was computed from, and how fast it changes with each of them."""
    __slots__ = ("data", "grad", "_children", "_local_grads")
    def __init__(self, data, children=(), local_grads=()):
        self.data = data                 # the number
        self.grad = 0                    # d loss / d self, once loss.backward() has run
        self._children = children        # the values it was computed from: one, two or two hundred
        self._local_grads = local_grads  # d self / d child, for each of them
    def __repr__(self): return f"Value(data={self.data}, grad={self.grad})"
    def __add__(self, other):
        if isinstance(other, Value):
            return Value(self.data + other.data, (self, other), (1, 1))
        return Value(self.data + other, (self,), (1,))
    def __mul__(self, other):
        if isinstance(other, Value):
            return Value(self.data * other.data, (self, other), (other.data, self.data))
        return Value(self.data * other, (self,), (other,))
    def __pow__(self, n): return Value(self.data**n, (self,), (n * self.data ** (n - 1),))
    def exp(self): return Value(math.exp(self.data), (self,), (math.exp(self.data),))
    def log(self): return Value(math.log(self.data), (self,), (1 / self.data,))
    def relu(self): return Value(self.data, (self,), (1,)) if self.data > 0 else Value(0.0)
    def __neg__(self): return self * -1
    def __sub__(self, other): return self + -other
    def __truediv__(self, other): return self * other**-1
    __radd__, __rmul__ = __add__, __mul__
    def __rsub__(self, other): return -self + other
    def __rtruediv__(self, other): return self**-1 * other

    def backward(self):
        """Add d self / d value to the grad of every value that self was computed from."""
        order, seen, stack = [], set(), [(self, False)]
        while stack:  # put the values in order: each one after all of its children
            value, children_done = stack.pop()
            if children_done:
                order.append(value)
            elif value not in seen:
                seen.add(value)
                stack.append((value, True))
                stack += [(c, False) for c in value._children if c._children and c not in seen]
        self.grad = 1
        for value in reversed(order):  # the chain rule, from the loss down to the parameters
            grad = value.grad  # complete by now: every value computed from it has had its turn
            for child, local_grad in zip(value._children, value._local_grads):
                child.grad += local_grad * grad

def add(values):  # the sum of any number of values, as one node
    return Value(sum(v.data for v in values), (*values,), (1,) * len(values))

def dot(a, b):
    """Return a[0]*b[0] + a[1]*b[1] + ... as one node; d dot / d a[i] is b[i], and vice versa."""
    a_data, b_data = [v.data for v in a], [v.data for v in b]
    return Value(sum(map(mul, a_data, b_data)), (*a, *b), (*b_data, *a_data))

# ---- Architecture: a token and those before it -> a guess at the next ----------------------------
Config = namedtuple("Config", "vocab_size n_layer n_embd n_head block_size")

def init(config, rng):
    """Return random parameters by name, each a matrix of (outputs, inputs): a list of rows."""
    n, vocab = config.n_embd, config.vocab_size
    shapes = {"wte": (vocab, n), "wpe": (config.block_size, n), "lm_head": (vocab, n)}
    for i in range(config.n_layer):
        shapes |= {f"layer{i}.attn_w{which}": (n, n) for which in "qkvo"}
        shapes |= {f"layer{i}.mlp_fc1": (4 * n, n), f"layer{i}.mlp_fc2": (n, 4 * n)}
    return {name: [[Value(rng.gauss(0, 0.08)) for _ in range(inputs)] for _ in range(outputs)]
            for name, (outputs, inputs) in shapes.items()}

def flat(params): return [p for matrix in params.values() for row in matrix for p in row]
def cache(config): return [[] for _ in range(config.n_layer)], [[] for _ in range(config.n_layer)]
def linear(x, w): return [dot(row, x) for row in w]  # (inputs) -> (outputs), one for each row of w

def softmax(logits):
    """Turn any numbers into probabilities: positive, with sum 1, larger for larger numbers."""
    largest = max(z.data for z in logits)  # subtracted first: exp could overflow
    exps = [(z - largest).exp() for z in logits]
    scale = add(exps) ** -1
    return [e * scale for e in exps]

def rmsnorm(x):
    """Scale a vector to a mean square of 1, so that numbers stay in range in a deep model."""
    scale = (dot(x, x) / len(x) + 1e-5) ** -0.5
    return [xi * scale for xi in x]

def attention(q, keys, values, n_head):
    """Mix the values of the T tokens so far, each by how well its key matches the query q."""
    mix, head_dim = [], len(q) // n_head
    for start in range(0, len(q), head_dim):  # each head looks at its own slice of every vector
        head = slice(start, start + head_dim)
        weights = softmax([dot(q[head], k[head]) / head_dim**0.5 for k in keys])      # (T)
        mix += [dot(weights, column) for column in zip(*(v[head] for v in values))]   # (head_dim)
    return mix                                                                        # (n_embd)

def gpt(params, config, token_id, pos_id, keys, values):
    """Return the logits (vocab_size) of the next token; append this one to keys and values."""
    x = [t + p for t, p in zip(params["wte"][token_id], params["wpe"][pos_id])]       # (n_embd)
    x = rmsnorm(x)
    for i in range(config.n_layer):
        h = rmsnorm(x)                                            # 1) tokens talk to each other
        q = linear(h, params[f"layer{i}.attn_wq"])                # what this token looks for
        keys[i].append(linear(h, params[f"layer{i}.attn_wk"]))    # what it is found by: (T, n_embd)
        values[i].append(linear(h, params[f"layer{i}.attn_wv"]))  # what it passes on: (T, n_embd)
        h = attention(q, keys[i], values[i], config.n_head)
        h = linear(h, params[f"layer{i}.attn_wo"])
        x = [a + b for a, b in zip(x, h)]                         # added to x, not put in its place
        h = linear(rmsnorm(x), params[f"layer{i}.mlp_fc1"])       # 2) each one thinks: (4 n_embd)
        h = linear([a.relu() for a in h], params[f"layer{i}.mlp_fc2"])
        x = [a + b for a, b in zip(x, h)]
    return linear(x, params["lm_head"])

# ---- Training: guess, measure the error, move every parameter against its gradient ---------------
def loss(params, config, tokens):
    """Return the mean surprise -log p(next token) over a document (nats); blind guessing: ln 27."""
    keys, values = cache(config)
    surprises = []  # one for each position
    for pos_id in range(min(config.block_size, len(tokens) - 1)):
        probs = softmax(gpt(params, config, tokens[pos_id], pos_id, keys, values))
        surprises.append(-probs[tokens[pos_id + 1]].log())
    return add(surprises) / len(surprises)

def adam(weights, m, v, step, lr, beta1=0.85, beta2=0.99, eps=1e-8):
    """Move every parameter by about lr against its gradient, smoothed over the last steps."""
    m_scale, v_scale = 1 / (1 - beta1 ** (step + 1)), 1 / (1 - beta2 ** (step + 1))
    for i, p in enumerate(weights):
        m[i] = beta1 * m[i] + (1 - beta1) * p.grad      # the gradient, smoothed
        v[i] = beta2 * v[i] + (1 - beta2) * p.grad**2   # its square, smoothed
        p.data -= lr * m[i] * m_scale / (math.sqrt(v[i] * v_scale) + eps)
        p.grad = 0

# ---- Inference: guess a token, append it, repeat -------------------------------------------------
def sample(params, config, rng, temperature=0.5):
    """Return the tokens of a new document; the lower the temperature, the fewer surprises."""
    keys, values = cache(config)
    tokens = [config.vocab_size - 1]  # BOS begins a document; a second one ends it
    for pos_id in range(config.block_size):
        logits = gpt(params, config, tokens[-1], pos_id, keys, values)
        probs = softmax([z / temperature for z in logits])
        token = rng.choices(range(config.vocab_size), [p.data for p in probs])[0]
        if token == tokens[0]: break
        tokens.append(token)
    return tokens[1:]

def main(argv, steps=1000):
    path = argv[0] if argv else PUBLISHED
    try:
        path = Path(path) if argv else find()
        docs = read(path)
        if not docs: raise ValueError("it is empty")
    except Exception as error:  # missing, empty, not text, no network: one line says which
        sys.stderr.write(f"gpt.py: no documents in {path} ({error}); give UTF-8 text, one a line\n")
        return 2
    rng = random.Random(42)
    rng.shuffle(docs)
    alphabet = "".join(sorted(set("".join(docs))))
    config = Config(len(alphabet) + 1, n_layer=1, n_embd=16, n_head=4, block_size=16)
    params = init(config, rng)
    weights = flat(params)
    m, v = [0.0] * len(weights), [0.0] * len(weights)
    print(f"{path}: {len(docs)} documents, {len(alphabet)} characters, {len(m)} parameters")
    for step in range(steps):
        surprise = loss(params, config, encode(docs[step % len(docs)], alphabet))
        surprise.backward()
        adam(weights, m, v, step, lr=0.01 * (1 - step / steps))
        print(f"step {step + 1:4d} / {steps} | loss {surprise.data:.4f}", flush=True)
    for _ in range(20): print(decode(sample(params, config, rng), alphabet), flush=True)

if __name__ == "__main__":
    try: sys.exit(main(sys.argv[1:]))
    except BrokenPipeError: os._exit(0)      # the reader, such as head, has seen enough
    except KeyboardInterrupt: os._exit(130)  # Ctrl-C

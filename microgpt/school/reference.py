"""What a learner writes that gpt.py does not hold, in its manner: plain functions, plain numbers.

With gpt.py, tuning/weights.py and llm/bpe.py, this is the whole reference of the school: none of
them has a second copy here.
"""
import math

from microgpt.gpt import add, attention, cache, gpt, linear, rmsnorm, softmax


# ---- Lesson 2: how surprising is the next token? -------------------------------------------------
def surprise(p):
    """Return the surprise at something of probability p: -log p (nats)."""
    return -math.log(p)

def bigram(docs, vocab_size):
    """Return how likely each token is after each other: rows of probabilities, one for each token.

    docs are lists of tokens, [BOS, ..., BOS]. Every pair counts one more than it was seen.
    """
    counts = [[1] * vocab_size for _ in range(vocab_size)]
    for tokens in docs:
        for token, following in zip(tokens, tokens[1:]):
            counts[token][following] += 1
    return [[count / sum(row) for count in row] for row in counts]

# ---- Lesson 3: what does a nudge do? -------------------------------------------------------------
def slope(f, x, h=1e-5):
    """Return how fast f(x) changes with x, measured from h below x to h above it."""
    return (f(x + h) - f(x - h)) / (2 * h)

# ---- Lesson 9: what does the cache save? ---------------------------------------------------------
def recompute(params, config, tokens):
    """Return the logits (vocab_size) of the next token, as gpt does after tokens, with no cache."""
    xs = [rmsnorm([t + p for t, p in zip(params["wte"][token_id], params["wpe"][pos_id])])
          for pos_id, token_id in enumerate(tokens)]                         # (T, n_embd)
    for i in range(config.n_layer):
        hs = [rmsnorm(x) for x in xs]
        queries, keys, values = ([linear(h, params[f"layer{i}.attn_w{which}"]) for h in hs]
                                 for which in "qkv")
        for pos_id, x in enumerate(xs):  # a token sees itself and those before it
            seen = slice(pos_id + 1)
            h = attention(queries[pos_id], keys[seen], values[seen], config.n_head)
            h = linear(h, params[f"layer{i}.attn_wo"])
            x = [a + b for a, b in zip(x, h)]
            h = linear(rmsnorm(x), params[f"layer{i}.mlp_fc1"])
            h = linear([a.relu() for a in h], params[f"layer{i}.mlp_fc2"])
            xs[pos_id] = [a + b for a, b in zip(x, h)]
    return linear(xs[-1], params["lm_head"])

def multiplications(config, length, cached):
    """Return how many multiplications linear() does to read length tokens, one after another.

    After each token the logits of the next one are wanted. With a cache a token goes through the
    layers once; without, all tokens so far go through them again for each guess.
    """
    n = config.n_embd
    layers = config.n_layer * (4 * n * n + 2 * n * 4 * n)  # for one token
    passes = length if cached else length * (length + 1) // 2
    return passes * layers + length * config.vocab_size * n

# ---- Lesson 12: numbers as the console has them --------------------------------------------------
def fixed_mul(a, b, m, n):
    """Return a * b in Qm.n: an integer of m + n bits, sign included, stands for itself / 2**n.

    Rounded to the nearest, halves upward; what does not fit becomes the nearest that does.
    """
    product, limit = (a * b + 2**n // 2) >> n, 2 ** (m + n - 1)
    return max(-limit, min(limit - 1, product))

# ---- Lesson 13: the loss of everything that comes after training ---------------------------------
def weighted_loss(params, config, tokens, weights):
    """Return the sum of each guess's surprise times its weight; 1/n for each is gpt.py's loss.

    A model reads the whole document, whatever the weights: one for each position.
    """
    keys, values = cache(config)
    terms = []
    for pos_id, weight in enumerate(weights):
        probs = softmax(gpt(params, config, tokens[pos_id], pos_id, keys, values))
        terms.append(-weight * probs[tokens[pos_id + 1]].log())
    return add(terms)

# ---- Lesson 15: what a choice between two says ---------------------------------------------------
def dpo_loss(chosen, rejected, beta):
    """Return -log sigmoid(beta * (chosen - rejected)): the surprise at the choice that was made.

    chosen and rejected say how much likelier both became: log p - log p_before (nats).
    """
    z = beta * (chosen - rejected)
    return max(0.0, -z) + math.log1p(math.exp(-abs(z)))

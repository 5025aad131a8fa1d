"""The second chapter: what a production LLM changes in gpt.py, in gpt.py's own numbers.

Each function here takes the place of a few lines there, and is made of the same words: add, dot,
linear, softmax, attention. `forward`, the last, is gpt.gpt with a choice wherever a brick may go:
with every choice at the heart's it computes what gpt.gpt computes, number for number.
"""
import math
from microgpt.gpt import add, attention, dot, linear, rmsnorm, softmax

def data(value): return value.data  # to decide by: a decision has no gradient

# ---- Norms: what the heart leaves at 1, a model may learn ----------------------------------------
def gained_rmsnorm(x, gain, eps):
    """Scale a vector to a mean square of 1, then each number by its gain (Zhang, Sennrich 2019)."""
    scale = (dot(x, x) / len(x) + eps) ** -0.5
    return [xi * scale * g for xi, g in zip(x, gain)]

def layernorm(x, gain, bias, eps):
    """Move a vector to a mean of 0 before, and by a bias after that (GPT-2; Ba et al. 2016)."""
    mean = add(x) / len(x)
    x = gained_rmsnorm([xi - mean for xi in x], gain, eps)
    return [xi + b for xi, b in zip(x, bias)]

def norm(x, params, name, config):
    """Return a vector under the norm of that name; the heart's has no parameters."""
    if config.norm == "rms": return rmsnorm(x)
    if config.norm == "gained rms": return gained_rmsnorm(x, params[name], config.norm_eps)
    return layernorm(x, params[name], params[f"{name}.bias"], config.norm_eps)

# ---- Biases: a number added to each output, where the model has them -----------------------------
def affine(x, params, name):
    """Return linear(x, the matrix of that name), and its bias added."""
    outputs, bias = linear(x, params[name]), params.get(f"{name}.bias")
    return outputs if bias is None else [z + b for z, b in zip(outputs, bias)]

# ---- Activations: smoother ways than ReLU to let a number pass or not ----------------------------
def relu(z): return z if data(z) > 0 else z * 0
def sigmoid(z): return softmax([z, z * 0])[0]  # how far z beats 0, from 0 to 1
def silu(z): return z * sigmoid(z)             # Llama's (Elfwing et al. 2017)
def gelu(z): return z * sigmoid((z + z**3 * 0.044715) * math.sqrt(8 / math.pi))  # GPT-2's, by tanh
ACTIVATIONS = {"relu": relu, "silu": silu, "gelu": gelu}

def mlp(x, params, name, config):
    """Widen, activate, narrow; gated, a second matrix says what passes (SwiGLU: Shazeer 2020)."""
    activation, h = ACTIVATIONS[config.activation], affine(x, params, f"{name}_fc1")
    if config.gated:
        h = [activation(g) * z for g, z in zip(affine(x, params, f"{name}_gate"), h)]
    else:
        h = [activation(z) for z in h]
    return affine(h, params, f"{name}_fc2")

# ---- Mixture of experts: many MLPs, and a token visits a few of them (Shazeer et al. 2017) -------
def experts(x, params, layer, config):
    """Mix what the likeliest experts say of x, each by its probability."""
    probs, matrices = softmax(linear(x, params[f"{layer}router"])), ("gate", "fc1", "fc2")
    best = sorted(range(len(probs)), key=lambda e: -data(probs[e]))[:config.experts.n_used]
    shares = [probs[e] for e in best]
    if config.experts.renormalize:
        shares = [share / add(shares) for share in shares]
    said = [mlp(x, {f"_{m}": params[f"{layer}experts_{m}"][e] for m in matrices}, "", config)
            for e in best]
    return [dot(shares, column) for column in zip(*said)]

# ---- RoPE: a position turns queries and keys, and is added to nothing (Su et al. 2021) -----------
def frequencies(rope, head_dim):
    """Return how far each pair of a head turns from one position to the next (radians)."""
    freqs = [rope.theta ** (-i / head_dim) for i in range(0, head_dim, 2)]
    return [stretch(freq, rope.stretch) for freq in freqs] if rope.stretch else freqs

def stretch(freq, s):
    """Slow a slow turn for a longer context, keep a fast one, and in between do a bit of both."""
    turns = s.original * freq / (2 * math.pi)  # within the context of pretraining (Llama 3.1)
    kept = min(1, max(0, (turns - s.low) / (s.high - s.low)))
    return kept * freq + (1 - kept) * freq / s.factor

def turn(x, angles):
    """Turn each pair (x[i], x[i + half]): q and k then match by how far apart they are."""
    turns = [(math.cos(angle), math.sin(angle)) for angle in angles]
    a, b = x[:len(turns)], x[len(turns):]
    a, b = ([p * cos - q * sin for p, q, (cos, sin) in zip(a, b, turns)],
            [q * cos + p * sin for p, q, (cos, sin) in zip(a, b, turns)])
    return a + b

# ---- Grouped-query attention: a few heads of keys and values serve many of queries ---------------
def each_head(function, x, head_dim):
    return [z for i in range(0, len(x), head_dim) for z in function(x[i:i + head_dim])]

def grouped_attention(q, keys, values, head_dim, window=None):
    """Let each head of q attend, by the heart's attention, to what its group shares."""
    keys, values = keys[-(window or 0):], values[-(window or 0):]  # the last ones; -0: all
    mix, group = [], len(q) // len(keys[0])  # heads of q in a group (Ainslie et al. 2023)
    for i in range(0, len(q), head_dim):
        start = i // head_dim // group * head_dim
        k, v = ([x[start:start + head_dim] for x in each] for each in (keys, values))
        mix += attention(q[i:i + head_dim], k, v, 1)
    return mix

# ---- The model -----------------------------------------------------------------------------------
def forward(params, config, token_id, pos_id, keys, values):
    """Return the logits (vocab_size) of the next token; append this one to keys and values."""
    x, size, eps = params["wte"][token_id], config.head_dim, config.norm_eps
    if not config.rope: x = [t + p for t, p in zip(x, params["wpe"][pos_id])]
    if config.embedding_norm: x = norm(x, params, "embedding_norm", config)
    for i in range(config.n_layer):
        layer = f"layer{i}."
        h = norm(x, params, f"{layer}attn_norm", config)
        q, k, v = (affine(h, params, f"{layer}attn_w{which}") for which in "qkv")
        if config.qk_norm:  # heads whose numbers cannot grow (Henry et al. 2020)
            q, k = (each_head(lambda h: gained_rmsnorm(h, params[layer + which], eps), heads, size)
                    for heads, which in ((q, "q_norm"), (k, "k_norm")))
        if config.rope:
            angles = [pos_id * freq for freq in frequencies(config.rope, size)]
            q, k = (each_head(lambda h: turn(h, angles), heads, size) for heads in (q, k))
        keys[i].append(k)
        values[i].append(v)
        h = grouped_attention(q, keys[i], values[i], size, config.window(i))
        x = [a + b for a, b in zip(x, affine(h, params, f"{layer}attn_wo"))]
        h = norm(x, params, f"{layer}mlp_norm", config)
        if f"{layer}router" in params: h = experts(h, params, layer, config)
        else: h = mlp(h, params, f"{layer}mlp", config)
        x = [a + b for a, b in zip(x, h)]
    if config.final_norm: x = norm(x, params, "final_norm", config)
    return linear(x, params["wte" if config.tied else "lm_head"])

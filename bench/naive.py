"""The model of gpt.py as one writes it first: the yardstick of bench/heart.py.

Every + and every * of two numbers is a node, constants too; backward sorts the graph by recursion;
everything is at the top level of one script. It draws, computes and prints what gpt.py does.

    python bench/naive.py FILE
"""
# mypy: ignore-errors

import math
import random
import sys
from pathlib import Path

random.seed(42)
docs = Path(sys.argv[1]).read_text("utf-8").split()
random.shuffle(docs)
chars = sorted(set("".join(docs)))
bos = len(chars)
vocab_size = bos + 1


class Value:
    def __init__(self, data, children=(), local_grads=()):
        self.data = data
        self.grad = 0
        self._children = children
        self._local_grads = local_grads

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1, 1))

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, n):
        return Value(self.data**n, (self,), (n * self.data ** (n - 1),))

    def exp(self):
        return Value(math.exp(self.data), (self,), (math.exp(self.data),))

    def log(self):
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def relu(self):
        return Value(max(0, self.data), (self,), (float(self.data > 0),))

    def __neg__(self):
        return self * -1

    def __radd__(self, other):
        return self + other

    def __sub__(self, other):
        return self + (-other)

    def __rmul__(self, other):
        return self * other

    def __truediv__(self, other):
        return self * other**-1

    def backward(self):
        order = []
        visited = set()

        def visit(value):
            if value not in visited:
                visited.add(value)
                for child in value._children:
                    visit(child)
                order.append(value)

        visit(self)
        self.grad = 1
        for value in reversed(order):
            for child, local_grad in zip(value._children, value._local_grads, strict=True):
                child.grad += local_grad * value.grad


n_layer = 1
n_embd = 16
n_head = 4
block_size = 16
head_dim = n_embd // n_head


def matrix(outputs, inputs):
    return [[Value(random.gauss(0, 0.08)) for _ in range(inputs)] for _ in range(outputs)]


weights = {
    "wte": matrix(vocab_size, n_embd),
    "wpe": matrix(block_size, n_embd),
    "lm_head": matrix(vocab_size, n_embd),
}
for layer in range(n_layer):
    for name in ("attn_wq", "attn_wk", "attn_wv", "attn_wo"):
        weights[f"layer{layer}.{name}"] = matrix(n_embd, n_embd)
    weights[f"layer{layer}.mlp_fc1"] = matrix(4 * n_embd, n_embd)
    weights[f"layer{layer}.mlp_fc2"] = matrix(n_embd, 4 * n_embd)
params = [p for rows in weights.values() for row in rows for p in row]


def linear(x, w):
    return [sum(wi * xi for wi, xi in zip(row, x, strict=True)) for row in w]


def softmax(logits):
    largest = max(z.data for z in logits)
    exps = [(z - largest).exp() for z in logits]
    total = sum(exps)
    return [e / total for e in exps]


def rmsnorm(x):
    mean_square = sum(xi * xi for xi in x) / len(x)
    scale = (mean_square + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def gpt(token_id, pos_id, keys, values):
    x = [t + p for t, p in zip(weights["wte"][token_id], weights["wpe"][pos_id], strict=True)]
    x = rmsnorm(x)
    for layer in range(n_layer):
        residual = x
        x = rmsnorm(x)
        q = linear(x, weights[f"layer{layer}.attn_wq"])
        keys[layer].append(linear(x, weights[f"layer{layer}.attn_wk"]))
        values[layer].append(linear(x, weights[f"layer{layer}.attn_wv"]))
        x = []
        for head in range(n_head):
            start, end = head * head_dim, (head + 1) * head_dim
            fits = [
                sum(q[j] * key[j] for j in range(start, end)) / head_dim**0.5 for key in keys[layer]
            ]
            shares = softmax(fits)
            for j in range(start, end):
                x.append(sum(shares[t] * values[layer][t][j] for t in range(len(shares))))
        x = linear(x, weights[f"layer{layer}.attn_wo"])
        x = [a + b for a, b in zip(x, residual, strict=True)]
        residual = x
        x = linear(rmsnorm(x), weights[f"layer{layer}.mlp_fc1"])
        x = linear([xi.relu() for xi in x], weights[f"layer{layer}.mlp_fc2"])
        x = [a + b for a, b in zip(x, residual, strict=True)]
    return linear(x, weights["lm_head"])


learning_rate, beta1, beta2, eps = 0.01, 0.85, 0.99, 1e-8
m = [0.0] * len(params)
v = [0.0] * len(params)
num_steps = 1000
for step in range(num_steps):
    doc = docs[step % len(docs)]
    tokens = [bos] + [chars.index(c) for c in doc] + [bos]
    keys = [[] for _ in range(n_layer)]
    values = [[] for _ in range(n_layer)]
    losses = []
    for pos_id in range(min(block_size, len(tokens) - 1)):
        probs = softmax(gpt(tokens[pos_id], pos_id, keys, values))
        losses.append(-probs[tokens[pos_id + 1]].log())
    loss = sum(losses) / len(losses)
    loss.backward()
    lr = learning_rate * (1 - step / num_steps)
    for i, p in enumerate(params):
        m[i] = beta1 * m[i] + (1 - beta1) * p.grad
        v[i] = beta2 * v[i] + (1 - beta2) * p.grad**2
        m_hat = m[i] / (1 - beta1 ** (step + 1))
        v_hat = v[i] / (1 - beta2 ** (step + 1))
        p.data -= lr * m_hat / (math.sqrt(v_hat) + eps)
        p.grad = 0
    print(f"step {step + 1:4d} / {num_steps} | loss {loss.data:.4f}")

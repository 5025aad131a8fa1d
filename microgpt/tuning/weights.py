"""How hard a document is pulled: the rules of post-training on plain numbers, as gpt.py is written.

algorithms.py applies them to batches. Lessons 13 to 15 have a learner write them again.
"""
import math


# ---- Lesson 13: examples -------------------------------------------------------------------------
def sft_weights(tokens, given):
    """Return the weight of each guess: 0 for a token of the prompt, 1/n for one of the completion.

    tokens are [BOS, prompt, completion, BOS]; `given` of them are the prompt, n are guessed after
    it. There are as many guesses as tokens but one.
    """
    n = len(tokens) - 1 - given
    return [0.0] * given + [1 / n] * n

# ---- Lesson 14: rewards --------------------------------------------------------------------------
def forbid_unfinished(rewards, finished):
    """Return what documents earn when one that does not end earns the least of all, 0 at most."""
    least = min(0.0, *rewards)
    return [r if ended else least for r, ended in zip(rewards, finished)]

def advantages(rewards, ratios, beta):
    """Return how much more each document earned than the others did on average.

    ratios say how far a document has gone from the model before, log p - log p_before (nats); each
    nat costs beta of its reward. There are at least two documents.
    """
    earned = [r - beta * ratio for r, ratio in zip(rewards, ratios)]
    return [r - (sum(earned) - r) / (len(earned) - 1) for r in earned]

# ---- Lesson 15: preferences ----------------------------------------------------------------------
def dpo_weights(chosen, rejected, beta):
    """Return the weights of the document chosen and of the one rejected: minus dpo_loss's slopes.

    chosen and rejected are their log p - log p_before (nats).
    """
    z = beta * (chosen - rejected)
    pull = beta / (1 + math.exp(min(z, 700)))  # of more it overflows
    return pull, -pull

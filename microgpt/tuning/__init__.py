"""Post-training: fine-tuning on examples, reinforcement learning, and preferences.

algorithms.py has each method on a page of its own, as a pure function beside its paper; feeds.py
gives a run what it learns from.
"""

from microgpt.tuning.completions import grow
from microgpt.tuning.feeds import FineTuning, Preferences, Reinforcement, Rejection
from microgpt.tuning.reference import Reference

__all__ = ["FineTuning", "Preferences", "Reference", "Reinforcement", "Rejection", "grow"]

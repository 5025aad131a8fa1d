"""The second chapter: what a production LLM changes in the heart, and what is only bigger."""

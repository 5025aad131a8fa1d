"""The lab: a page that shows the real gpt.py at work, and the small server behind it."""

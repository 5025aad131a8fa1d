"""The model in C: kernel.c stands beside gpt.py, module.c lets Python call it."""

"""The model in C: kernel.c is to be read beside gpt.py, module.c lets Python call it."""

"""The model as PyTorch tensors: all positions at once, on a GPU where there is one."""

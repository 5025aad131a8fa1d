"""The integer models: what the cartridges compute, exact, and how floats become integers."""

"""Looking into a stopped thread without being fooled: memory, paths, descriptors, identity."""

"""What the pipeline survives, measured: faults, hostile documents, injected instructions, leaks, load."""

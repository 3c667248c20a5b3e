"""The untrusted container: starts user code, ends it, says how it ended. Stdlib only."""

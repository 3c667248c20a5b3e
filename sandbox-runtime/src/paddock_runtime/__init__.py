"""The two sides of a sandbox pod: the trusted runtime and the untrusted workspace."""

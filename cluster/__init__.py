"""Paddock's local cluster: a real single-node Kubernetes for development, tests and CI.

Standard library only: this runs before any virtual environment exists.
"""

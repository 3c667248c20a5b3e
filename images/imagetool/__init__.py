"""Builds Paddock's container images with Docker, or with buildah on a Debian base of its own."""

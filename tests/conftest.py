"""Settings that all tests share."""

from hypothesis import settings

# Two cores and neighbours: a slow example says nothing about the code.
settings.register_profile("paddock", deadline=None)
settings.load_profile("paddock")

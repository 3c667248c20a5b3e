"""Decisions: pure functions from what is wanted and what is seen to what to do next.

Nothing in here does I/O, reads a clock or logs. `now` is an argument, objects are the plain
dictionaries that the API server sent, and the answer is a `Plan`: actions in order, and when
to look again. The same input gives the same plan, so every rule is tested as a table.
"""

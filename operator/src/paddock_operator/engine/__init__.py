"""The level-triggered loop: store and queue in, plan, actions out.

Events only mark keys; a reconcile looks at everything that the store knows of its key, so it
does not matter how many events came, in which order, or whether one was lost.
"""

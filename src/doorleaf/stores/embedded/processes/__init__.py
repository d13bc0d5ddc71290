"""Processes that carry operations out beside the server: what they compute has an end in time and in memory.

The server starts one *template* from a clean interpreter, which has the engine loaded and forks *workers* at need. A
worker takes one operation at a time. It is killed when an operation outstays its time or its caller leaves, which
ends also what holds the interpreter's lock.
"""

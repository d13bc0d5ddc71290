"""What the endpoint and our own server's connections tell each other in a request's scope."""

WHOLE_ANSWER = "doorleaf.whole_answer"
"""An extension that our own server offers: a :class:`doorleaf.http.short.Answer`."""

READING = "doorleaf.reading"
"""A mark on the scope while something only reads: the server cancels its task when the client leaves."""

DRAINING = "doorleaf.draining"
"""Another: true once the server waits for its last answers to end."""

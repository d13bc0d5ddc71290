"""JavaScript out of process, in Deno without any permission: what it may do goes over a pipe and is judged here."""

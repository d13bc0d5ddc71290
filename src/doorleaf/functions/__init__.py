"""Functions of an app: HTTPS endpoints and calls that run the operator's own JavaScript or Python."""

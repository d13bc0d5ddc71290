"""Documents as files: readers and writers of NDJSON, JSON, CSV and BSON, and what carries whole collections in and out.

Everything is read and written as a stream: what is held in memory is a batch of rows, whatever the size of the file.
"""

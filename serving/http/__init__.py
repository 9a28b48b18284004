"""The HTTP/1.1 side of a data worker."""

"""One immutable pack of a table's version: what it holds, how it is built, checked and read."""

"""A checked plan into stages and exchanges; nothing is read, and Beam is not needed."""

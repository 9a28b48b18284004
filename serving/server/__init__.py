"""Processes: the supervisor, its data workers and the control plane."""

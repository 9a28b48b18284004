"""Bounds that several parts of the HTTP side share."""

from __future__ import annotations

# The fast lane refuses on arrival what would wait longer than this; interactive requests are then answered in time.
MOST_WAIT_S = 0.010
# Batch requests may fill this part of the fast lane.
BATCH_PART = 0.25
# Refusals may take this part of the loop's time; beyond it the refused are not read for the rest of a window.
REFUSAL_PART = 0.20
REFUSAL_WINDOW_S = 0.100
# What reading and writing a refusal costs outside our own code: two system calls and the loop's turn.
REFUSAL_CALLS_S = 8e-6
# What a refusal costs whose request was parsed first.
PARSED_REFUSAL_S = 10e-6
# Of each 10 ms so much may be served in the order of arrival; beyond it, priorities and deadlines decide.
LEISURE_S = 0.004
# A turn of the loop serves no longer than this before sockets are read again.
MOST_A_TURN_S = 0.002

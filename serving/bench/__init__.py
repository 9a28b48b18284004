"""Load that does not wait for its answers, scenarios with pass figures, and their curves."""

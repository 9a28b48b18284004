"""Filters and small SQL over packs: checked, run once per host, cached by version."""

"""The serving tier with real servers."""

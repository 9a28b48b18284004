"""Who may be served now, and in which order."""

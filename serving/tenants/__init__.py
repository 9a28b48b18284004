"""Who may read what, and how fast."""

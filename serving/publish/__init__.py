"""Publishing packs: the store, announcing and rolling back, and a host's own copies."""

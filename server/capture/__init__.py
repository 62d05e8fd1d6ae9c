"""Records that serving writes to a storage root: presence, captured frames, heartbeats. None of it slows an answer."""

"""What serving leaves behind in a storage root: presence, captured frames, heartbeats. None of it slows an answer."""

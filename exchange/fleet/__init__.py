"""Records of a fleet: captured frames, class presence, heartbeats, erasures and pseudonyms of vehicles."""

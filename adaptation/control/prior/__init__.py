"""Each domain's class distribution, estimated from what is served and written into the serving plan."""

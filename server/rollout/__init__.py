"""Following of the serving plan: loading versions, routing domains, trying candidates."""

"""The operator's page: what is served, learnt, judged and asked of people, live in a browser."""

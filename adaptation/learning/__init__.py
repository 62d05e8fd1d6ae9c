"""Everything that loads torch: networks, data, training, methods, rounds, evaluation, gate, export and workers."""

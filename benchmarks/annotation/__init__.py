"""What clicks on regions chosen by acquisition are worth, against the same clicks on random regions."""

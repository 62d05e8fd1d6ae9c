"""Worth of clicks on regions chosen by acquisition, against the same clicks on random regions."""

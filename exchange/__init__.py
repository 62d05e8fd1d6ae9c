"""What the two halves of roadshift agree on, and the storage they meet in. Imports neither of them."""

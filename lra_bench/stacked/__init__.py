"""Many trials that differ only in numbers, trained as one program."""

"""What holds for the source as a text: the direction of imports, and what no file may name."""

"""Values and columns: pure functions, no input and no output."""

"""What every kind of stream is declared with, and the workspace they share."""
